package hooks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// httpGet is http.get(url [, {headers=, timeout=}]).
func (v *vm) httpGet(l *lua.LState) int {
	return v.request(l, http.MethodGet, nil, l.OptTable(2, nil))
}

// httpPost is http.post(url, body [, {headers=, timeout=}]); a table is sent as JSON.
func (v *vm) httpPost(l *lua.LState) int {
	return v.request(l, http.MethodPost, l.Get(2), l.OptTable(3, nil))
}

func (v *vm) request(l *lua.LState, method string, body lua.LValue, options *lua.LTable) int {
	text, header := "", http.Header{"User-Agent": {"remora-hook"}}
	switch body := body.(type) {
	case nil, *lua.LNilType:
	case *lua.LTable:
		plain, err := toGo(v, body, 0)
		if err == nil {
			text, err = encodeJSON(plain)
		}
		if err != nil {
			l.ArgError(2, err.Error())
		}
		header.Set("Content-Type", "application/json")
	default:
		text = body.String()
		header.Set("Content-Type", "text/plain; charset=utf-8")
	}
	if len(text) > maxBody {
		l.ArgError(2, fmt.Sprintf("body of %d bytes, at most %d are sent", len(text), maxBody))
	}
	wait := v.left()
	if options != nil {
		if s, ok := options.RawGetString("timeout").(lua.LNumber); ok {
			wait = min(wait, time.Duration(float64(s)*float64(time.Second)))
		}
		if t, ok := options.RawGetString("headers").(*lua.LTable); ok {
			t.ForEach(func(k, value lua.LValue) { header.Set(k.String(), value.String()) })
		}
	}
	ctx, cancel := context.WithTimeout(v.ctx, wait)
	defer cancel()
	answer, err := v.do(ctx, method, l.CheckString(1), header, text)
	if err != nil {
		v.child.send(message{Log: &logLine{Level: "warn", Text: cut(fmt.Sprintf("http.%s: %v", strings.ToLower(method), err), maxText)}})
		return failure(l, err.Error())
	}
	l.Push(v.toLua(answer))
	return 1
}

// do sends one request. Its errors name the host only: paths of webhooks are secrets.
func (v *vm) do(ctx context.Context, method, address string, header http.Header, body string) (map[string]any, error) {
	target, err := url.Parse(address)
	if err != nil || target.Host == "" || target.Scheme != "http" && target.Scheme != "https" {
		return nil, errors.New("the address is not of the form http://host/ or https://host/")
	}
	if v.child.dryRun {
		v.child.send(message{HTTP: cut(strings.TrimSpace(fmt.Sprintf("%s %s %s", method, address, body)), maxText)})
		return map[string]any{"status": 200.0, "body": "", "headers": map[string]any{}}, nil
	}
	r, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("ask %s: the request cannot be made", target.Host)
	}
	r.Header = header
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, Proxy: nil}, CheckRedirect: atMostThree}
	resp, err := client.Do(r)
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err // without the address
	}
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", target.Host, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", target.Host, err)
	}
	if len(text) > maxBody {
		return nil, fmt.Errorf("read the answer of %s: more than %d bytes", target.Host, maxBody)
	}
	headers := map[string]any{}
	for k, values := range resp.Header {
		headers[strings.ToLower(k)] = strings.Join(values, ", ")
	}
	return map[string]any{"status": float64(resp.StatusCode), "body": string(text), "headers": headers}, nil
}

func atMostThree(_ *http.Request, via []*http.Request) error {
	if len(via) > 3 {
		return errors.New("more than 3 redirects")
	}
	return nil
}
