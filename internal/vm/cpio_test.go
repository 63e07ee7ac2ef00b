package vm

import (
	"bytes"
	"compress/gzip"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// archive is an initramfs whose names and data need every length of padding.
func archive(t *testing.T) []byte {
	t.Helper()
	zipped, err := pack([]byte("shell"), []moduleFile{
		{"a.ko", []byte("1")}, {"bb.ko", []byte("22")}, {"ccc.ko", []byte("333")}, {"dddd.ko", []byte("4444")}, {"e.ko", nil},
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := gzip.NewReader(bytes.NewReader(zipped))
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func cpio(t *testing.T, in []byte, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("cpio"); err != nil {
		t.Skip("the archive is read by cpio, which is not here")
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.Command("cpio", append([]string{"--quiet"}, args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &stdout, &stderr
	if err := cmd.Run(); err != nil || stderr.Len() > 0 {
		t.Fatalf("cpio %v: %v: %s", args, err, &stderr)
	}
	return stdout.String()
}

func TestCpioListsTheArchive(t *testing.T) {
	want := "bin bin/busybox modules modules/a.ko modules/bb.ko modules/ccc.ko modules/dddd.ko modules/e.ko order init"
	if got := strings.Fields(cpio(t, archive(t), "-t")); strings.Join(got, " ") != want {
		t.Errorf("got %q", got)
	}
}

func TestCpioReadsTheFiles(t *testing.T) {
	for name, want := range map[string]string{
		"bin/busybox": "shell", "modules/a.ko": "1", "modules/ccc.ko": "333", "modules/dddd.ko": "4444",
		"order": "a.ko\nbb.ko\nccc.ko\ndddd.ko\ne.ko\n", "init": string(initScript),
	} {
		if got := cpio(t, archive(t), "-i", "--to-stdout", name); got != want {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

func TestTheSameContentGivesTheSameArchive(t *testing.T) {
	if !bytes.Equal(archive(t), archive(t)) {
		t.Error("two archives differ")
	}
}

func TestCpioWriterKeepsTheFirstError(t *testing.T) {
	r, w := io.Pipe()
	r.Close()
	c := cpioWriter{w: w}
	c.File("name", []byte("data"))
	if err := c.Close(); err == nil {
		t.Error("the write to a closed pipe has no error")
	}
}
