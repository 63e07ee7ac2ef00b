package health

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"golang.org/x/net/http2/hpack"
)

// grpcCodes are the values of grpc-status in words (gRPC: doc/statuscodes.md).
var grpcCodes = []string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND: the server does not know the service",
	"ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
	"UNIMPLEMENTED: the server has no health service", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
}

// servings are the values of ServingStatus (grpc/health/v1/health.proto).
var servings = []string{"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"}

const serving = 1

var (
	errNoMessage = errors.New("the call succeeds without an answer")
	errMalformed = errors.New("the answer is malformed")
)

// grpcRequest is a HealthCheckRequest in its frame: field 1 is the service.
func grpcRequest(service string) []byte {
	var message []byte
	if service != "" {
		message = append(binary.AppendUvarint([]byte{1<<3 | 2}, uint64(len(service))), service...)
	}
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}

// grpcStatus is how the call ended: nil for OK.
func grpcStatus(trailer []hpack.HeaderField) error {
	text := field(trailer, "grpc-status")
	if text == "" {
		return errors.New("the server does not say how the call ended (no grpc-status)")
	}
	code, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return fmt.Errorf("the server says that the call ended with %s, no number", excerpt(text))
	}
	if code == 0 {
		return nil
	}
	words := "code " + text
	if code < uint64(len(grpcCodes)) {
		words = grpcCodes[code]
	}
	message := field(trailer, "grpc-message")
	if message == "" {
		return errors.New(words)
	}
	if plain, err := url.PathUnescape(message); err == nil { // it is percent-encoded
		message = plain
	}
	return fmt.Errorf("%s: it says %s", words, excerpt(message))
}

// grpcServing reads the one message of an answer: nil for SERVING.
func grpcServing(body []byte) error {
	switch {
	case len(body) == 0:
		return errNoMessage
	case len(body) < 5 || uint64(len(body)-5) != uint64(binary.BigEndian.Uint32(body[1:])):
		return fmt.Errorf("%w: it is no single message", errMalformed)
	case body[0] != 0:
		return fmt.Errorf("%w: it is compressed, which was not asked for", errMalformed)
	}
	status, err := servingStatus(body[5:])
	switch {
	case err != nil:
		return err
	case status == serving:
		return nil
	case status < uint64(len(servings)):
		return fmt.Errorf("the service is %s", servings[status])
	}
	return fmt.Errorf("the service has the unknown status %d", status)
}

// servingStatus reads a HealthCheckResponse: the last field 1, 0 if there is none, and
// whatever fields come later in its history.
func servingStatus(b []byte) (status uint64, err error) {
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 || tag>>3 == 0 || tag>>3 >= 1<<29 {
			return 0, errMalformed
		}
		b = b[n:]
		value, n := binary.Uvarint(b)
		size := uint64(max(n, 0)) // of the value
		switch tag & 7 {
		case 0: // a number
			if tag>>3 == 1 && n > 0 {
				status = value
			}
		case 1:
			n, size = 1, 8
		case 2: // bytes
			if size += value; size < value {
				return 0, errMalformed
			}
		case 5:
			n, size = 1, 4
		default: // groups, which are not in use
			return 0, errMalformed
		}
		if n <= 0 || size > uint64(len(b)) {
			return 0, errMalformed
		}
		b = b[size:]
	}
	return status, nil
}
