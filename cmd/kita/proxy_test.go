package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"kita/control"
	"kita/control/sshhost"
)

// listenOnce answers one connection on a unix socket and returns its path.
func listenOnce(t *testing.T, answer func(*net.UnixConn)) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		answer(nc.(*net.UnixConn))
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-done
	})
	return path
}

func TestProxyPassesBytesOn(t *testing.T) {
	sent := "\x00\xff\nbytes" + strings.Repeat("x", 1<<20)
	// The answer comes after the end of the request.
	socket := listenOnce(t, func(nc *net.UnixConn) {
		got, _ := io.ReadAll(nc)
		_, _ = nc.Write(append([]byte("got "), got...))
	})
	var out, said bytes.Buffer
	p := &program{name: "kita", out: &out, err: &said}
	if err := p.proxy(t.Context(), socket, true, strings.NewReader(sent)); err != nil {
		t.Fatal(err)
	}
	if out.String() != "got "+sent || said.String() != sshhost.ProxyReady+"\n" {
		t.Errorf("%d bytes came back, on stderr %q", out.Len(), said.String())
	}
}

func TestProxyEndsWithTheServer(t *testing.T) {
	socket := listenOnce(t, func(nc *net.UnixConn) { _, _ = nc.Write([]byte("bye")) })
	var out, said bytes.Buffer
	in, keepOpen := io.Pipe()
	p := &program{name: "kita", out: &out, err: &said}
	if err := p.proxy(t.Context(), socket, false, in); err != nil || out.String() != "bye" || said.Len() > 0 {
		t.Errorf("%q, %q, %v", out.String(), said.String(), err)
	}
	_ = keepOpen.Close()
}

func TestProxyWithoutAServer(t *testing.T) {
	for _, socket := range []string{"", filepath.Join(t.TempDir(), "none")} {
		var out, said bytes.Buffer
		p := &program{name: "kita", out: &out, err: &said}
		err := p.proxy(t.Context(), socket, true, strings.NewReader("x"))
		var unreachable *control.Unreachable
		if !errors.As(err, &unreachable) || p.finish(err) != exitUnreachable {
			t.Errorf("%q: %v", socket, err)
		}
		if out.Len() > 0 || strings.Count(said.String(), "\n") != 1 {
			t.Errorf("%q: it says %q, %q", socket, out.String(), said.String())
		}
	}
}
