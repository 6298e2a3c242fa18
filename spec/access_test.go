package spec

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"
)

func TestAccessAllows(t *testing.T) {
	access := Access{
		{Keys: []string{"ops"}, Rights: []Right{Admin}, Children: []string{"*"}},
		{Keys: []string{"ci-*", "deploy"}, Rights: []Right{Read, Operate}, Children: []string{"web-?", "api"}},
		{Keys: []string{"ci-*"}, Rights: []Right{Read}, Children: []string{"*"}},
		{Keys: []string{"dba"}, Rights: []Right{Admin}, Children: []string{"db"}},
		{Keys: []string{"starter"}, Rights: []Right{Operate}, Children: []string{"*"}},
		{Keys: []string{"[a-"}, Rights: []Right{Admin}, Children: []string{"*"}},
	}
	tests := []struct {
		name   string
		access Access
		key    string
		right  Right
		child  string
		want   bool
	}{
		{"no access: everything", nil, "anyone", Admin, All, true},
		{"no access: also without a key", nil, "", Admin, All, true},
		{"an empty one: nothing", Access{}, "ops", Read, "web", false},
		{"no rule for the key", access, "eve", Read, "api", false},
		{"no key at all", Access{{Keys: []string{"*"}, Rights: []Right{Admin}, Children: []string{"*"}}}, "", Read, "", false},
		{"a glob of keys is the whole name", access, "my-ci-1", Read, "api", false},
		{"names have capitals", access, "OPS", Read, "api", false},

		{"admin reads", access, "ops", Read, "db", true},
		{"admin operates", access, "ops", Operate, "db", true},
		{"admin of all is for all", access, "ops", Admin, All, true},
		{"admin in particular", access, "ops", Admin, "", true},

		{"a key glob", access, "ci-7", Operate, "web-1", true},
		{"a second key", access, "deploy", Operate, "api", true},
		{"a child glob is the whole name", access, "deploy", Operate, "web-10", false},
		{"another child", access, "deploy", Read, "db", false},
		{"rules add up", access, "ci-7", Read, "db", true},
		{"not across rules", access, "ci-7", Operate, "db", false},
		{"read of all", access, "ci-7", Read, All, true},
		{"operate of some is not of all", access, "ci-7", Operate, All, false},
		{"operate is not admin", access, "ci-7", Admin, "web-1", false},
		{"none in particular", access, "deploy", Read, "", true},
		{"none in particular takes the right", access, "deploy", Admin, "", false},

		{"admin of one child", access, "dba", Operate, "db", true},
		{"admin of one child is not of another", access, "dba", Read, "web-1", false},
		{"admin of one child is not of all", access, "dba", Admin, All, false},
		{"operate does not include read", access, "starter", Read, "web-1", false},
		{"a pattern that is none matches nothing", access, "[a-", Read, "web", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.access.Allows(tt.key, tt.right, tt.child); got != tt.want {
				t.Errorf("%s may %s %q: %v, want %v", tt.key, tt.right, tt.child, got, tt.want)
			}
		})
	}
}

func TestAccessRights(t *testing.T) {
	access := Access{
		{Keys: []string{"*"}, Rights: []Right{Read}},
		{Keys: []string{"ci"}, Rights: []Right{Operate, Read}},
	}
	for key, want := range map[string][]Right{"ci": {Read, Operate}, "x": {Read}} {
		if got := access.Rights(key); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", key, got, want)
		}
	}
}

func TestParseAccess(t *testing.T) {
	tests := []struct {
		name, text string
		want       Access
	}{
		{"none", "mode: quiet", nil},
		{"nobody", "access: []", Access{}},
		{"children are all unless named", "access:\n- keys: [ops]\n  verbs: [admin]", Access{{[]string{"ops"}, []Right{Admin}, []string{"*"}}}},
		{"globs", `access: [{keys: ["ci-*", '[a-c]?'], verbs: [read, operate], children: ["web-*", db]}]`,
			Access{{[]string{"ci-*", "[a-c]?"}, []Right{Read, Operate}, []string{"web-*", "db"}}}},
		{"two rules", `access: [{keys: [a], verbs: [read]}, {keys: [b], verbs: [operate]}]`,
			Access{{[]string{"a"}, []Right{Read}, []string{"*"}}, {[]string{"b"}, []Right{Operate}, []string{"*"}}}},
		{"names like numbers", `access: [{keys: [7, on], verbs: [read], children: [8]}]`, Access{{[]string{"7", "on"}, []Right{Read}, []string{"8"}}}},
		{"a dot within", `access: [{keys: [alice.laptop], verbs: [read]}]`, Access{{[]string{"alice.laptop"}, []Right{Read}, []string{"*"}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := ParseServer("/s.yml", []byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(s.Access, tt.want) {
				t.Errorf("got %#v, want %#v", s.Access, tt.want)
			}
		})
	}
}

func TestParseAccessErrors(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"no value", "access:", "1: access: has no value, write access: [{keys: [ops], verbs: [admin]}] or leave the key out"},
		{"a mapping", "access: {keys: [a]}", "1: access: is a mapping where a list belongs, write access: [{keys: [ops], verbs: [admin]}]"},
		{"text", "access: ops", "1: access: is text where a list belongs, write access: [{keys: [ops], verbs: [admin]}]"},
		{"text in the list", "access: [ops]", "1: access: an element is text, write - {keys: [ops], verbs: [admin]}"},
		{"an empty rule", "access:\n  - {}", "2: access.keys: is missing, write keys: [ops, 'ci-*']\n2: access.verbs: is missing, write verbs: [read, operate]"},
		{"no verbs", "access:\n- keys: [a]", "2: access.verbs: is missing, write verbs: [read, operate]"},
		{"one key as text", "access: [{keys: ops, verbs: [read]}]", "1: access.keys: is text where a list belongs, write keys: [ops]"},
		{"one verb as text", "access: [{keys: [ops], verbs: read}]", "1: access.verbs: is text where a list belongs, write verbs: [read]"},
		{"one child as text", "access: [{keys: [a], verbs: [read], children: web}]", "1: access.children: is text where a list belongs, write children: [web]"},
		{"keys without a value", "access: [{keys: , verbs: [read]}]", "1: access.keys: has no value, write keys: [ops, 'ci-*']"},
		{"children without a value", "access: [{keys: [a], verbs: [read], children: }]", "1: access.children: has no value, write children: ['web-*'] or leave the key out"},
		{"nobody", "access: [{keys: [], verbs: [read]}]", "1: access.keys: is empty, write keys: [ops, 'ci-*']"},
		{"nothing", "access: [{keys: [a], verbs: []}]", "1: access.verbs: is empty, write verbs: [read, operate]"},
		{"no child", "access: [{keys: [a], verbs: [read], children: []}]", "1: access.children: is empty, write children: ['web-*']"},
		{"an empty name", "access: [{keys: [''], verbs: [read]}]", "1: access.keys: is empty, write keys: [ops, 'ci-*']"},
		{"a single verb", "access:\n- keys: [a]\n  verbs: [restart]", `3: access.verbs: "restart" is not given by itself, write operate, which has it`},
		{"check", "access: [{keys: [a], verbs: [check]}]", `1: access.verbs: "check" is not given by itself, write read, which has it`},
		{"kill", "access: [{keys: [a], verbs: [kill]}]", `1: access.verbs: "kill" is not given by itself, write admin, which has it`},
		{"upgrade", "access: [{keys: [a], verbs: [upgrade]}]", `1: access.verbs: "upgrade" is not given by itself, write admin, which has it`},
		{"everything", "access: [{keys: [a], verbs: ['*']}]", `1: access.verbs: "*" is not given by itself, write admin, which has it`},
		{"an unknown verb", "access: [{keys: [a], verbs: [write]}]", `1: access.verbs: "write" is not known, write read, operate or admin`},
		{"in capitals", "access: [{keys: [a], verbs: [Read]}]", `1: access.verbs: "Read" is not known, write read, operate or admin`},
		{"a list among the verbs", "access: [{keys: [a], verbs: [[read]]}]", "1: access.verbs: a list stands where text belongs, write verbs: [read, operate]"},
		{"a pattern of keys", "access:\n- verbs: [read]\n  keys: ['[a']", `3: access.keys: "[a" is no pattern: a [ has no ], or a \ ends it, write keys: [ops, 'ci-*']`},
		{"a pattern of children", `access: [{keys: [a], verbs: [read], children: ['web\']}]`, `1: access.children: "web\\" is no pattern: a [ has no ], or a \ ends it, write children: ['web-*']`},
		{"a pattern that goes wrong late", `access: [{keys: ['ab*[z-'], verbs: [read]}]`, `1: access.keys: "ab*[z-" is no pattern: a [ has no ], or a \ ends it, write keys: [ops, 'ci-*']`},
		{"the file of a key", "access: [{keys: [ops.pem], verbs: [read]}]", `1: access.keys: "ops.pem" is the name of a file, write that of the key: ops`},
		{"the path of a key", "access: [{keys: [/srv/keys/ops.pub], verbs: [read]}]", `1: access.keys: "/srv/keys/ops.pub" is the name of a file, write that of the key: ops`},
		{"all children", "access: [{keys: [a], verbs: [read], children: [all]}]", `1: access.children: "all" is reserved and cannot be the name of a child, write children: ["*"] for every child`},
		{"no name of a child", "access: [{keys: [a], verbs: [read], children: [web.yml]}]", `1: access.children: the name "web.yml" has a '.', which the name of a child cannot have, write children: ['web-*']`},
		{"an unknown key", "access: [{key: [a], verbs: [read]}]", "1: access.key: unknown key, did you mean keys?\n1: access.keys: is missing, write keys: [ops, 'ci-*']"},
		{"twice", "access:\n- keys: [a]\n  verbs: [read]\n  verbs: [admin]", "4: access.verbs: is given twice, first in line 3, leave one out"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wantServerErrors(t, tt.text, tt.want)
		})
	}
}

// An access that allows nobody must not turn into none on its way.
func TestEmptyAccessStaysEmpty(t *testing.T) {
	for _, text := range []string{"access: []", "mode: quiet"} {
		s, err := ParseServer("/s.yml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		content, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var again Server
		if err := json.Unmarshal(content, &again); err != nil {
			t.Fatal(err)
		}
		if (again.Access == nil) != (s.Access == nil) {
			t.Errorf("%s: %#v became %#v", text, s.Access, again.Access)
		}
	}
}
