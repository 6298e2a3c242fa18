package examples

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// deployVariables are the variables that deploy.sh takes.
func deployVariables(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("ci/deploy.sh")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range regexp.MustCompile(`"\$\{([A-Z_]+):=`).FindAllStringSubmatch(string(text), -1) {
		names = append(names, m[1])
	}
	if !slices.Contains(names, "HOSTS") || !slices.Contains(names, "WAIT") {
		t.Fatalf("deploy.sh takes %q", names)
	}
	return names
}

// calls are the command lines of deploy.sh in some lines of a pipeline.
func calls(t *testing.T, lines []string) (modes []string) {
	t.Helper()
	for _, line := range lines {
		words := strings.Fields(line)
		if len(words) == 0 || !strings.HasSuffix(words[0], "deploy.sh") {
			continue
		}
		if len(words) != 3 || words[0] != "ci/deploy.sh" || words[2] != "children" {
			t.Errorf("deploy.sh is called as %q", line)
			continue
		}
		modes = append(modes, words[1])
	}
	return modes
}

// checkVariables holds what a step sets against what deploy.sh takes.
func checkVariables(t *testing.T, set map[string]string, also ...string) {
	t.Helper()
	known := deployVariables(t)
	given := slices.Concat(slices.Collect(maps.Keys(set)), also)
	for _, name := range given {
		if !slices.Contains(known, name) {
			t.Errorf("deploy.sh does not take %s", name)
		}
	}
	for _, name := range []string{"HOSTS", "DESTINATIONS", "KEY", "WAIT", "TIMEOUT", "MAX_UNAVAILABLE"} {
		if !slices.Contains(given, name) {
			t.Errorf("%s is not given to deploy.sh", name)
		}
	}
}

func read(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

func TestTheGitHubPipelineCallsTheScriptAsItIs(t *testing.T) {
	var workflow struct {
		On struct {
			PullRequest *struct{} `json:"pull_request"`
			Push        struct{ Branches []string }
		}
		Jobs map[string]struct {
			If    string
			Needs string
			Steps []struct {
				Run string
				Env map[string]string
			}
		}
	}
	// YAML 1.1 has on for true, and so has JSON then.
	text, err := os.ReadFile("ci/github-actions.yml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(strings.Replace(string(text), "\non:", "\n\"on\":", 1)), &workflow); err != nil {
		t.Fatal(err)
	}
	modes := map[string][]string{}
	for name, job := range workflow.Jobs {
		for _, step := range job.Steps {
			called := calls(t, strings.Split(step.Run, "\n"))
			modes[name] = append(modes[name], called...)
			if slices.Contains(called, "deploy") {
				checkVariables(t, step.Env)
			}
		}
	}
	if want := map[string][]string{"validate": {"validate"}, "deploy": {"deploy"}}; !maps.EqualFunc(modes, want, slices.Equal) {
		t.Errorf("deploy.sh is called as %q", modes)
	}
	if deploy := workflow.Jobs["deploy"]; deploy.Needs != "validate" || !strings.Contains(deploy.If, "refs/heads/main") {
		t.Errorf("it is deployed if %q, after %q", deploy.If, deploy.Needs)
	}
	if !slices.Equal(workflow.On.Push.Branches, []string{"main"}) {
		t.Errorf("it runs on a push to %q", workflow.On.Push.Branches)
	}
}

func TestTheGitLabPipelineCallsTheScriptAsItIs(t *testing.T) {
	type job struct {
		Stage     string
		Script    []string
		Variables map[string]string
		Rules     []struct{ If string }
	}
	var pipeline struct {
		Stages   []string
		Validate job
		Deploy   job
	}
	read(t, "ci/gitlab-ci.yml", &pipeline)
	if got := calls(t, pipeline.Validate.Script); !slices.Equal(got, []string{"validate"}) {
		t.Errorf("validate calls deploy.sh as %q", got)
	}
	if got := calls(t, pipeline.Deploy.Script); !slices.Equal(got, []string{"deploy"}) {
		t.Errorf("deploy calls deploy.sh as %q", got)
	}
	// The project's variables are there without being named.
	checkVariables(t, pipeline.Deploy.Variables, "HOSTS", "DESTINATIONS")
	if !slices.Equal(pipeline.Stages, []string{"validate", "deploy"}) || pipeline.Deploy.Stage != "deploy" || pipeline.Validate.Stage != "validate" {
		t.Errorf("the stages are %q", pipeline.Stages)
	}
	if rules := pipeline.Deploy.Rules; len(rules) != 1 || !strings.Contains(rules[0].If, "$CI_DEFAULT_BRANCH") {
		t.Errorf("it is deployed by the rules %q", rules)
	}
}
