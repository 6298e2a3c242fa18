package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// http makes one request over "tcp" or the "unix" socket.
func (in *instance) http(network, method, path, body string, header map[string]string) (status int, answer string, err error) {
	address := in.tcp()
	if network == "unix" {
		address = in.socket()
	}
	return request(network, address, in.tcp(), method, path, body, header)
}

// request asks the server at address for path, by the name host.
func request(network, address, host, method, path, body string, header map[string]string) (status int, answer string, err error) {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: transport, Timeout: patience}
	request, err := http.NewRequest(method, "http://"+host+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	if method != http.MethodGet {
		request.Header.Set("Content-Type", "application/json")
	}
	for name, value := range header {
		if name == "Host" {
			request.Host = value
			continue
		}
		request.Header.Set(name, value)
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

// exchange is the old client: it writes the segments and reads to the end. It
// closes its writing half only where halfClose is set, which the old one never
// did.
func (in *instance) exchange(segments []string, halfClose bool) (string, error) {
	conn, err := net.Dial("tcp", in.tcp())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	for _, s := range segments {
		// Go sets TCP_NODELAY: each write leaves as a segment of its own.
		if _, err := io.WriteString(conn, s); err != nil {
			return "", fmt.Errorf("write %q: %w", s, err)
		}
	}
	if halfClose {
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			return "", err
		}
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		return string(answer), fmt.Errorf("read the answer to %q: %w", segments, err)
	}
	if len(answer) == 0 {
		return "", errors.New("the server closed without an answer")
	}
	return string(answer), nil
}

// split cuts s after each of the positions.
func split(s string, positions ...int) []string {
	var segments []string
	last := 0
	for _, p := range positions {
		if p > last && p < len(s) {
			segments = append(segments, s[last:p])
			last = p
		}
	}
	return append(segments, s[last:])
}

// bytewise cuts s into segments of one byte.
func bytewise(s string) []string { return strings.Split(s, "") }
