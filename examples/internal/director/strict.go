package director

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// strict reads the JSON object raw into the structs that targets point to. Unlike
// json.Unmarshal it takes a field only by its exact name, only once, and only
// if one of the targets has it; and its errors say where in the file they are.
// A target's method defaults is called first.
func strict(path string, raw []byte, targets ...any) error {
	fields := map[string]reflect.Value{}
	for _, target := range targets {
		if d, ok := target.(interface{ defaults() }); ok {
			d.defaults()
		}
		collect(reflect.ValueOf(target).Elem(), fields)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return at(path, errors.New("want an object, in braces"))
	}
	seen := map[string]bool{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return at(path, err)
		}
		name, _ := key.(string)
		where := join(path, name)
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return at(where, err)
		}
		field, known := fields[name]
		switch {
		case !known:
			return at(where, fmt.Errorf("no such field; there are %s", strings.Join(slices.Sorted(maps.Keys(fields)), ", ")))
		case seen[name]:
			return at(where, errors.New("there twice"))
		}
		seen[name] = true
		if err := strictValue(where, value, field); err != nil {
			return err
		}
	}
	return nil
}

// collect finds the fields that have a name in JSON, those of embedded structs
// included.
func collect(v reflect.Value, fields map[string]reflect.Value) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if name := f.Tag.Get("json"); name != "" {
			fields[name] = v.Field(i)
		} else if f.Anonymous {
			collect(v.Field(i), fields)
		}
	}
}

// strictValue reads any JSON value into v.
func strictValue(path string, raw json.RawMessage, v reflect.Value) error {
	target := v.Addr().Interface()
	if t, ok := target.(interface{ read(string, []byte) error }); ok {
		return t.read(path, raw)
	}
	_, text := target.(encoding.TextUnmarshaler)
	switch {
	case v.Kind() == reflect.Pointer && string(raw) != "null":
		v.Set(reflect.New(v.Type().Elem()))
		return strictValue(path, raw, v.Elem())
	case v.Kind() == reflect.Struct && !text:
		return strict(path, raw, target)
	case v.Kind() == reflect.Slice && !text:
		var all []json.RawMessage
		if err := json.Unmarshal(raw, &all); err != nil {
			return at(path, errors.New("want a list, in brackets"))
		}
		v.Set(reflect.MakeSlice(v.Type(), len(all), len(all)))
		for i, one := range all {
			if err := strictValue(fmt.Sprintf("%s[%d]", path, i), one, v.Index(i)); err != nil {
				return err
			}
		}
		return nil
	}
	err := json.Unmarshal(raw, target)
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
		err = fmt.Errorf("want %s, not %s", inWords(v.Kind(), text), raw)
	}
	return at(path, err)
}

func inWords(k reflect.Kind, text bool) string {
	switch {
	case text || k == reflect.String:
		return "text in quotes"
	case k == reflect.Bool:
		return "true or false"
	case k == reflect.Float64:
		return "a number"
	case k == reflect.Uint8:
		return "a whole number from 0 to 255"
	case k == reflect.Uint16:
		return "a whole number from 0 to 65535"
	}
	return "a whole number"
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// A placed error says where in the file it is.
type placed struct {
	path string
	err  error
}

func (p placed) Error() string { return p.path + ": " + p.err.Error() }
func (p placed) Unwrap() error { return p.err }

// at says where in the file an error is, or where the part is that it is in.
func at(path string, err error) error {
	if err == nil || path == "" {
		return err
	}
	if inner, ok := err.(placed); ok {
		return placed{join(path, inner.path), inner.err}
	}
	return placed{path, err}
}
