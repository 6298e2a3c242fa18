package spec

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Mask stands for a secret.
const Mask = "***"

// secretParts make the name of a variable, an option or a member one of a secret
// wherever in it they stand, whatever their case. secretWords do so as a whole
// word of the name alone, secretEnds at the end of a word too: PASS is one in DB_PASS,
// DBPASS and dbPass, and none in PASSENGER. plainWords only look so.
var (
	secretParts = []string{"password", "passwd", "passphrase", "token", "secret", "key", "credential", "auth", "private", "cookie", "signature"}
	secretWords = []string{"dsn", "pin", "salt", "jwt", "sas", "cred", "creds", "sig", "session"}
	secretEnds  = []string{"pass", "pwd", "pw"}
	plainWords  = []string{"bypass", "compass", "oldpwd"}
)

// IsSecretName tells whether what has this name is likely to be a secret. Rather
// too much is taken for one than too little; where a secret is kept, PASSWORD_FILE or
// --key-path, is none.
func IsSecretName(name string) bool {
	lower := strings.ToLower(name)
	if isPlaceName(lower) {
		return false
	}
	if slices.ContainsFunc(secretParts, func(part string) bool { return strings.Contains(lower, part) }) {
		return true
	}
	words := nameWords(name)
	if len(words) == 1 && (words[0] == "pwd" || words[0] == "session") {
		// PWD is where a process works.
		return false
	}
	return slices.ContainsFunc(words, isSecretWord)
}

// isPlaceName: it is the name of a file or a directory.
func isPlaceName(lower string) bool {
	for _, end := range []string{"file", "filename", "path", "_dir", "-dir", ".dir"} {
		if strings.HasSuffix(lower, end) {
			return true
		}
	}
	return false
}

// keyExtensions are those of files with keys and certificates.
var keyExtensions = []string{".pem", ".key", ".crt", ".cer", ".der", ".pub", ".p12", ".pfx", ".ppk"}

// isKeyPath tells the path of such a file, which is none of its content.
func isKeyPath(value string) bool {
	value = strings.Trim(value, `'"`)
	isPath := strings.HasPrefix(value, "/") || strings.HasPrefix(value, "./") || strings.HasPrefix(value, "../") || strings.HasPrefix(value, "~/")
	return isPath && !strings.ContainsAny(value, " \t\n=:@&") && slices.Contains(keyExtensions, filepath.Ext(value))
}

func isSecretWord(word string) bool {
	word = strings.TrimRight(word, "0123456789")
	return slices.Contains(secretWords, word) || !slices.Contains(plainWords, word) &&
		slices.ContainsFunc(secretEnds, func(end string) bool { return strings.HasSuffix(word, end) })
}

// nameWords are the words of a name in lower case: dbPass, DB_PASS and db.pass have
// two.
func nameWords(name string) []string {
	var words []string
	begin := 0
	end := func(i int) {
		if i > begin {
			words = append(words, strings.ToLower(name[begin:i]))
		}
		begin = i
	}
	for i := range len(name) {
		switch c := name[i]; {
		case !isUpper(c) && !isLower(c) && (c < '0' || c > '9'):
			end(i)
			begin = i + 1
		case isUpper(c) && i > begin && (!isUpper(name[i-1]) || i+1 < len(name) && isLower(name[i+1])):
			end(i)
		}
	}
	end(len(name))
	return words
}

func isUpper(c byte) bool { return c >= 'A' && c <= 'Z' }
func isLower(c byte) bool { return c >= 'a' && c <= 'z' }

// patterns of secrets within a text. What each keeps is in its first group.
type patterns struct {
	// address finds SCHEME://USER:PASSWORD@, login USER:PASSWORD@ without a scheme,
	// web HTTP://TOKEN@.
	address, login, web *regexp.Regexp
	// scheme finds what follows Bearer and its like.
	scheme *regexp.Regexp
	// option finds what the clients of MySQL and MariaDB take right after -p.
	option *regexp.Regexp
	// sshpass finds what that takes after -p, before the command that it runs; user
	// the password after the -u of curl; redis what its client takes after -a.
	sshpass, user, redis *regexp.Regexp
	// named finds NAME=VALUE, NAME: VALUE and what JSON and YAML make of them.
	named *regexp.Regexp
}

// They are made when something is masked first: most commands never do.
var secretPatterns = sync.OnceValue(func() patterns {
	return patterns{
		address: regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://[^\s:/@'"]*:)[^\s'"]+@`),
		login:   regexp.MustCompile(`((?:^|[\s'"=,;(])[^\s:/@'"=,;(]+:)[^\s/'"][^\s'"]*@`),
		web:     regexp.MustCompile(`(?i)(https?://)[^\s:/@'"]+@`),
		scheme:  regexp.MustCompile(`(?i)\b((?:bearer|basic|digest)\s+)[^\s'"]+`),
		option:  regexp.MustCompile(`(\b(?:mysql|mariadb)[\w-]*\s(?:[^|;&\n]*?\s)?['"]?-p)('[^']*'?|"[^"]*"?|[^\s'"]+)`),
		sshpass: regexp.MustCompile(`(\bsshpass(?:\s+(?:-[fdP]\s*[^\s'"-][^\s'"]*|-e\S*|-[vV]))*\s+['"]?-p\s*)('[^']*'?|"[^"]*"?|[^\s'"]+)`),
		user:    regexp.MustCompile(`(\bcurl\s(?:[^|;&\n]*?\s)?['"]?(?:-[` + curlSwitches + `]*[uU]|--(?:proxy-)?user(?:\s|=))\s*['"]?[^\s:'"]*:)[^\s'"]+`),
		redis:   regexp.MustCompile(`(\b(?:redis|valkey)-cli\s(?:[^|;&\n]*?\s)?-a\s+)('[^']*'?|"[^"]*"?|[^\s'"]+)`),
		named:   regexp.MustCompile(`([A-Za-z0-9_.-]+)(["']?\s*[=:]\s*)("(?:\\.|[^"\\])*"?|'[^']*'?|[^\s&]+)`),
	}
})

// Masked is text without the secrets that can be told in it, and whether there
// were any: passwords of addresses (user:PASSWORD@), values that a name of a
// secret stands before (password=VALUE, Token: VALUE), what follows Bearer, and
// private keys.
func Masked(text string) (masked string, hidden bool) {
	if !strings.ContainsAny(text, "=:@ ") {
		return text, false
	}
	if strings.Contains(text, "-----BEGIN ") {
		return Mask, true
	}
	p := secretPatterns()
	masked = p.address.ReplaceAllString(text, "${1}"+Mask+"@")
	masked = p.login.ReplaceAllString(masked, "${1}"+Mask+"@")
	masked = p.web.ReplaceAllString(masked, "${1}"+Mask+"@")
	masked = p.scheme.ReplaceAllString(masked, "${1}"+Mask)
	masked = p.option.ReplaceAllString(masked, "${1}"+Mask)
	masked = p.sshpass.ReplaceAllString(masked, "${1}"+Mask)
	masked = p.user.ReplaceAllString(masked, "${1}"+Mask)
	masked = p.redis.ReplaceAllString(masked, "${1}"+Mask)
	masked = maskNamed(p.named, masked)
	return masked, masked != text
}

// maskNamed masks the values of names of secrets, up to a space or the & of a
// query, and to the end of the line where spaces stand around the = or after the
// colon. What follows the name of something else can be such a name itself, so the
// search goes on in it.
func maskNamed(named *regexp.Regexp, text string) string {
	var b strings.Builder
	for {
		at := named.FindStringSubmatchIndex(text)
		if at == nil {
			b.WriteString(text)
			return b.String()
		}
		b.WriteString(text[:at[6]])
		if !IsSecretName(text[at[2]:at[3]]) || isKeyPath(text[at[6]:at[7]]) {
			text = text[at[6]:]
			continue
		}
		b.WriteString(Mask)
		ends := " \t\n&"
		if strings.ContainsAny(text[at[4]:at[5]], " \t") {
			ends = "\n"
		}
		rest := text[at[7]:]
		if end := strings.IndexAny(rest, ends); end >= 0 {
			text = rest[end:]
		} else {
			text = ""
		}
	}
}

// maskedValue is Masked for the value of a variable.
func maskedValue(name, value string) (masked string, hidden bool) {
	if value != "" && IsSecretName(name) && !isKeyPath(value) {
		return Mask, true
	}
	return Masked(value)
}

// maskedWords is Masked for each word of a command, and for the word after an
// option that is named as a secret.
func maskedWords(words []string) (masked []string, hidden bool) {
	masked = make([]string, len(words))
	for i, word := range words {
		text, hid := Masked(word)
		if option, value, given := strings.Cut(word, "="); given && isSecretOption(option) && !isKeyPath(value) {
			text, hid = option+"="+Mask, true
		}
		if i > 0 && isSecretOption(words[i-1]) && !strings.HasPrefix(word, "--") && word != "" && !isKeyPath(word) {
			text, hid = Mask, true
		}
		if strings.HasPrefix(word, "-p") && len(word) > len("-p") && slices.ContainsFunc(words[:i], isMySQL) {
			text, hid = "-p"+Mask, true
		}
		if shown, is := maskedLogin(words[:i], word); is {
			text, hid = shown, true
		}
		masked[i], hidden = text, hidden || hid
	}
	return masked, hidden
}

// isMySQL tells the programs that take a password right after -p.
func isMySQL(program string) bool {
	program = filepath.Base(program)
	return strings.HasPrefix(program, "mysql") || strings.HasPrefix(program, "mariadb")
}

// maskedLogin is a word of a command without the password that its program takes
// there, and false where that is none; before are the words before it.
func maskedLogin(before []string, word string) (masked string, is bool) {
	last := ""
	if len(before) > 0 {
		last = before[len(before)-1]
	}
	isOf := func(programs ...string) bool {
		return slices.ContainsFunc(before, func(w string) bool { return slices.Contains(programs, filepath.Base(w)) })
	}
	switch {
	case word == "":
	case isOf("curl") && (isCurlUser(last) || isCurlUser(word)):
		if name, _, found := strings.Cut(word, ":"); found {
			return name + ":" + Mask, true
		}
	case isOf("redis-cli", "valkey-cli") && last == "-a":
		return Mask, true
	case isOf("sshpass") && isOfSSHPass(before):
		if last == "-p" {
			return Mask, true
		}
		if strings.HasPrefix(word, "-p") && len(word) > len("-p") {
			return "-p" + Mask, true
		}
	}
	return "", false
}

// curlSwitches are the letters of curl after which another option may follow in the
// same word; see curl(1). What follows -X is its value, in -XPUT too.
const curlSwitches = "#012346aBfgGiIjJklLMnNOpqRsSvVZ"

// isCurlUser tells the options of curl after which a user and a password stand,
// among other letters too: -sSu. The two may stand in the word itself.
func isCurlUser(word string) bool {
	if strings.HasPrefix(word, "--") {
		name, _, _ := strings.Cut(word, "=")
		return name == "--user" || name == "--proxy-user"
	}
	letters, isShort := strings.CutPrefix(word, "-")
	at := strings.IndexAny(letters, "uU")
	return isShort && at >= 0 && strings.Trim(letters[:at], curlSwitches) == ""
}

// isOfSSHPass tells whether the next word is still one of sshpass, and not of the
// command that it runs.
func isOfSSHPass(before []string) bool {
	at := slices.IndexFunc(before, func(w string) bool { return filepath.Base(w) == "sshpass" })
	for i := at + 1; i < len(before); i++ {
		switch w := before[i]; {
		case w == "-f" || w == "-d" || w == "-P":
			i++
		case w == "-p" && i == len(before)-1:
		case !strings.HasPrefix(w, "-") || w == "-p":
			return false
		}
	}
	return true
}

func isSecretOption(word string) bool {
	return strings.HasPrefix(word, "-") && !strings.ContainsAny(word, "= ") && IsSecretName(word)
}

// MaskedCommand is the command of c as a line, without secrets.
func (c *Child) MaskedCommand() string {
	line, _ := maskedLine(c.Command)
	return line
}

// maskedLine is a command as a line, without secrets.
func maskedLine(words []string) (line string, hidden bool) {
	words, hidden = maskedWords(words)
	return strings.ReplaceAll(displayWords(words), "'"+Mask+"'", Mask), hidden
}
