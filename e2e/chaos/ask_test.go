package chaos

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// ask makes one request over the unix socket, on a connection of its own. It
// writes the request and reads the answer by itself, so that nothing tries
// again or holds a connection behind the harness's back.
func (in *instance) ask(method, path, body string, limit time.Duration) (status int, answer []byte, err error) {
	conn, err := net.DialTimeout("unix", in.socket, limit)
	if err != nil {
		return 0, nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return 0, nil, err
	}
	return converse(conn, bufio.NewReader(conn), request(method, path, body))
}

// request is an HTTP request as it goes over the wire.
func request(method, path, body string) string {
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: localhost\r\n", method, path)
	if method == "POST" {
		head += fmt.Sprintf("Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	return head + "\r\n" + body
}

// converse sends a request and reads its answer.
func converse(conn net.Conn, from *bufio.Reader, prepared string) (status int, answer []byte, err error) {
	response, answer, err := exchange(conn, from, prepared)
	if err != nil {
		return 0, nil, err
	}
	return response.StatusCode, answer, nil
}

// converseKept is converse for a connection that is used again, unless closes.
func converseKept(conn net.Conn, from *bufio.Reader, prepared string) (status int, closes bool, err error) {
	response, _, err := exchange(conn, from, prepared)
	if err != nil {
		return 0, false, err
	}
	return response.StatusCode, response.Close, nil
}

func exchange(conn net.Conn, from *bufio.Reader, prepared string) (*http.Response, []byte, error) {
	if _, err := io.WriteString(conn, prepared); err != nil {
		return nil, nil, err
	}
	response, err := http.ReadResponse(from, nil)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	return response, answer, err
}

// children asks for all children.
func (in *instance) children(limit time.Duration) ([]view, error) {
	status, body, err := in.ask("GET", "/v1/children", "", limit)
	if err != nil {
		return nil, err
	}
	if status != 200 {
		return nil, fmt.Errorf("GET /v1/children: %d %s", status, body)
	}
	var answer struct {
		Children []view `json:"children"`
	}
	return answer.Children, json.Unmarshal(body, &answer)
}

// child asks for one child.
func (in *instance) child(name string) (v view, err error) {
	status, body, err := in.ask("GET", "/v1/children/"+name, "", patience)
	if err != nil {
		return v, err
	}
	if status != 200 {
		return v, fmt.Errorf("GET %s: %d %s", name, status, body)
	}
	return v, json.Unmarshal(body, &v)
}

// info is what the harness reads of the server itself.
type info struct {
	PID         int    `json:"pid"`
	Version     string `json:"version"`
	Containment string `json:"containment"`
}

func (in *instance) info() (i info, err error) {
	status, body, err := in.ask("GET", "/v1/info", "", patience)
	if err != nil {
		return i, err
	}
	if status != 200 {
		return i, fmt.Errorf("GET /v1/info: %d %s", status, body)
	}
	return i, json.Unmarshal(body, &i)
}

// refusal is the body of an answer that says no.
type refusal struct {
	Type   string `json:"type"`
	Detail string `json:"detail"`
}

// do carries out a command and waits for it. A refusal is no err.
func (in *instance) do(verb, child string, limit time.Duration) (status int, no refusal, err error) {
	path := "/v1/children/" + child + "/" + verb
	if child == "" {
		path = "/v1/" + verb
	}
	status, body, err := in.ask("POST", path, "{}", limit)
	if err == nil && status/100 != 2 {
		err = json.Unmarshal(body, &no)
	}
	return status, no, err
}
