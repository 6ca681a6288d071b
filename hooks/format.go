package hooks

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// directive is one of string.format's: flags, width, precision, and what it prints.
var directive = regexp.MustCompile(`^%([-+ #0]*)(\d*)(\.\d*)?(.?)`)

// format is string.format as the manual of Lua 5.1 has it. The interpreter's own prints
// its implementation's complaints into the text where an argument is missing or wrong.
func format(l *lua.LState) int {
	text := l.CheckString(1)
	var out strings.Builder
	for arg := 2; text != ""; {
		at := strings.IndexByte(text, '%')
		if at < 0 {
			out.WriteString(text)
			break
		}
		out.WriteString(text[:at])
		text = text[at:]
		if strings.HasPrefix(text, "%%") {
			out.WriteByte('%')
			text = text[2:]
			continue
		}
		d := directive.FindStringSubmatch(text)
		if len(d[2]) > 2 || len(d[3]) > 3 {
			l.RaiseError("invalid format (width or precision of %q is too long)", cut(d[0], 100))
		}
		out.WriteString(formatOne(l, arg, d))
		text = text[len(d[0]):]
		arg++
	}
	l.Push(lua.LString(out.String()))
	return 1
}

// formatOne prints argument arg as the directive d says.
func formatOne(l *lua.LState, arg int, d []string) string {
	how := "%" + d[1] + d[2] + d[3]
	switch kind := d[4]; kind {
	case "d", "i":
		return fmt.Sprintf(how+"d", int64(number(l, arg)))
	case "u":
		return fmt.Sprintf(how+"d", uint64(int64(number(l, arg))))
	case "o", "x", "X":
		return fmt.Sprintf(how+kind, uint64(int64(number(l, arg))))
	case "c":
		return string([]byte{byte(number(l, arg))})
	case "g", "G":
		if d[3] == "" {
			how += ".6" // C's, not the shortest
		}
		return fmt.Sprintf(how+kind, number(l, arg))
	case "e", "E", "f":
		return fmt.Sprintf(how+kind, number(l, arg))
	case "q":
		return quoted(given(l, arg, "string").String())
	case "s":
		return fmt.Sprintf(how+"s", l.ToStringMeta(given(l, arg, "string")).String())
	}
	l.RaiseError("invalid option %s to 'format'", strconv.Quote(cut(d[0], 100)))
	return ""
}

// given returns argument arg, which has to be there.
func given(l *lua.LState, arg int, want string) lua.LValue {
	if arg > l.GetTop() {
		l.RaiseError("bad argument #%d to 'format' (%s expected, got no value)", arg, want)
	}
	return l.Get(arg)
}

// number returns argument arg, which is a number or a text that is one.
func number(l *lua.LState, arg int) float64 {
	switch value := given(l, arg, "number").(type) {
	case lua.LNumber:
		return float64(value)
	case lua.LString:
		if n, err := strconv.ParseFloat(strings.TrimSpace(string(value)), 64); err == nil {
			return n
		}
	}
	l.RaiseError("bad argument #%d to 'format' (number expected, got %s)", arg, l.Get(arg).Type())
	return 0
}

// quoted writes s as a Lua string that reads as the same bytes.
func quoted(s string) string {
	return `"` + strings.NewReplacer(`"`, `\"`, `\`, `\\`, "\n", "\\\n", "\r", `\r`, "\x00", `\000`).Replace(s) + `"`
}
