package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"kita/control/controltest"
	"kita/control/legacy"
	"kita/control/sshhost"
	"kita/spec"
)

// oldServerStub answers each request as told, and keeps the requests. A request
// has want bytes.
func oldServerStub(t *testing.T, want int, answer string) (addr string, requests func() [][]byte) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var (
		serving sync.WaitGroup
		got     [][]byte
	)
	serving.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
			request := make([]byte, want)
			n, _ := io.ReadFull(nc, request)
			got = append(got, request[:n])
			_, _ = io.WriteString(nc, answer)
			_ = nc.Close()
		}
	})
	stop := sync.OnceFunc(func() {
		ln.Close()
		serving.Wait()
	})
	t.Cleanup(stop)
	return ln.Addr().String(), func() [][]byte {
		stop()
		return got
	}
}

func writeKey(t *testing.T, name string, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestLegacyWithAKeySendsThePacketOfTheOldClient(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	file := writeKey(t, "ops.pem", key)
	packet, err := legacy.Seal("ops", key, "stop web")
	if err != nil {
		t.Fatal(err)
	}
	const done = onEncryptMode + "stop web success"
	for name, ask := range map[string]func(addr string) (int, string, string){
		"kita": func(addr string) (int, string, string) {
			return kita("", "stop", "web", "--legacy", "with", file, "on", addr)
		},
		"supervisor-rs-client": func(addr string) (int, string, string) {
			var out, stderr bytes.Buffer
			status := run([]string{oldClientName, "stop", "web", "on", addr, "with", file}, &out, &stderr)
			return status, out.String(), stderr.String()
		},
	} {
		addr, requests := oldServerStub(t, len(packet), done)
		status, out, stderr := ask(addr)
		if status != exitOK || out != "Server "+addr+" response:\n"+done+"\n" || stderr != "" {
			t.Errorf("%s: status %d, stdout %q, stderr %q", name, status, out, stderr)
		}
		if got := requests(); len(got) != 1 || !bytes.Equal(got[0], packet) {
			t.Errorf("%s: sent %q, want %q", name, got, packet)
		}
	}
}

func TestLegacyTakesOnlyRSAKeys(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	addr, requests := oldServerStub(t, 1, "")
	status, _, stderr := kita("", "stop", "web", "--legacy", "with", writeKey(t, "ec.pem", key), "on", addr)
	if status != exitFailed || !strings.Contains(stderr, "made with an RSA key, and this is none (ecdsa-sha2-nistp256)") {
		t.Errorf("status %d, stderr %q", status, stderr)
	}
	if got := requests(); len(got) != 0 {
		t.Errorf("sent %q", got)
	}
}

// TestCheckOfAChildThatDoesNotRunIsToldFromOneThatDoes: as without --legacy, but
// not where scripts of supervisor-rs may rely on it.
func TestCheckOfAChildThatDoesNotRunIsToldFromOneThatDoes(t *testing.T) {
	svc := controltest.New(controltest.Child("web"), controltest.Child("web2"))
	svc.SetRunning("web2", 100)
	server := serveFake(t, svc)
	for child, want := range map[string]int{"web": exitNotRunning, "web2": exitOK, "all": exitOK, "": exitOK} {
		args := append([]string{"check"}, strings.Fields(child+" on "+server.tcp)...)
		if status, out, stderr := kita("", append(args, "--legacy")...); status != want || !strings.Contains(out, "==Check Results Below==") || stderr != "" {
			t.Errorf("check %s --legacy: status %d, want %d, stdout %q, stderr %q", child, status, want, out, stderr)
		}
		if status := run(append([]string{oldClientName}, args...), io.Discard, io.Discard); status != exitOK {
			t.Errorf("%s check %s: status %d", oldClientName, child, status)
		}
	}
	// Also of an encrypted server, and by the program of a host behind ssh://.
	r := request{verb: spec.VerbCheck, child: "web"}
	if status := exitStatus(&oldAnswer{status: r.oldStatus(onEncryptMode + "==Check Results Below==\nchild name: web\nprocessing id: 7\n")}); status != exitOK {
		t.Errorf("status %d", status)
	}
	if status := exitStatus(&oldAnswer{status: r.oldStatus("==Check Results Below==\nchild name: web2\n")}); status != exitNotRunning {
		t.Errorf("status %d", status)
	}
	status, _, stderr := kita("", "check", "web", "--legacy", "on", server.tcp+","+serveFake(t, svc).tcp)
	if status != exitNotRunning || !strings.Contains(stderr, "2 of 2 hosts failed: ") || !strings.Contains(stderr, " (not running)") {
		t.Errorf("status %d, stderr %q", status, stderr)
	}
}

// TestAChildOfTheOldProtocolHasNoBlanks: `web on x` would be another command.
func TestAChildOfTheOldProtocolHasNoBlanks(t *testing.T) {
	addr, requests := oldServerStub(t, 1, "start web success")
	for _, child := range []string{"web on 127.0.0.9", "web\tx", "web\nstop"} {
		statuses := map[string]int{}
		statuses["kita"], _, _ = kita("", "start", child, "--legacy", "on", addr)
		statuses[oldClientName] = run([]string{oldClientName, "start", child, "on", addr}, io.Discard, io.Discard)
		only := &sshhost.OnlyOldError{}
		r := request{verb: spec.VerbStart, child: child}
		statuses["ssh://"] = exitStatus(askOld(t.Context(), r, nil, only))
		for by, status := range statuses {
			if status != exitUsage {
				t.Errorf("%s start %q: status %d", by, child, status)
			}
		}
	}
	if got := requests(); len(got) > 0 {
		t.Errorf("sent %q", got)
	}
}

func TestLegacyPrintsTheAnswerOfEachHost(t *testing.T) {
	server, dead := serveFake(t, controltest.New(controltest.Child("web"))), unused(t)
	locked, _ := oldServerStub(t, len("start web"), onEncryptMode+"Cannot parse encrypt data")
	status, out, stderr := kita("", "start", "web", "--legacy", "on", server.tcp+","+dead+","+locked)
	want := "Server " + server.tcp + " response:\nstart web success\nServer " + locked + " response:\n" + onEncryptMode + "Cannot parse encrypt data\n"
	if status != exitUnreachable || out != want || !strings.Contains(stderr, dead+": nothing listens on "+dead) {
		t.Errorf("status %d\nstdout %q, want %q\nstderr %q", status, out, want, stderr)
	}
}

// TestAnOldAnswerThatIsTooLongIsAFailure: the server was reached.
func TestAnOldAnswerThatIsTooLongIsAFailure(t *testing.T) {
	addr, _ := oldServerStub(t, len("info"), strings.Repeat("x", 17<<20))
	if status, _, stderr := kita("", "info", "--legacy", "on", addr); status != exitFailed || stderr != "kita: ask "+addr+": the answer is longer than 16 MiB\n" {
		t.Errorf("status %d, stderr %q", status, stderr)
	}
}
