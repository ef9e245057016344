package main

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// An event is what EventBridge delivers of Secrets Manager, all kinds in one, as far as
// it says which secret changed. Documentation:
//
//   - Secrets Manager User Guide, "Secret Label Updated event": the service's own.
//   - The same, "AWS CloudTrail entries for Secrets Manager": calls of the API and
//     "AWS Service Event via CloudTrail", in the form of CloudTrail records.
//   - AWS re:Post, knowledge-center/secrets-manager-arn: until February 2024 some calls
//     were recorded with "aRN" instead of "arn".
//
// encoding/json takes the names of fields in any case, so that ARN, arn and aRN, or
// SecretId and secretId, are one.
type event struct {
	Source     string     `json:"source"`
	DetailType string     `json:"detail-type"`
	Resources  []string   `json:"resources"`
	Detail     *trailCall `json:"detail"`

	// What may be around an event.
	Records []record `json:"Records"` // a Lambda function's event of a queue or topic
	Type    string   `json:"Type"`    // "Notification" of SNS over HTTP or in a queue
	Message string   `json:"Message"`
}

type record struct {
	Body string `json:"body"` // of SQS: the event, or a Notification
	SNS  struct {
		Message string `json:"Message"`
	} `json:"Sns"`
}

// A trailCall is the detail of an event.
type trailCall struct {
	// Of "Secret Label Updated".
	Name string `json:"name"`

	// Of CloudTrail.
	EventSource         string  `json:"eventSource"`
	EventName           string  `json:"eventName"`
	ErrorCode           string  `json:"errorCode"`
	RequestParameters   *idents `json:"requestParameters"`
	ResponseElements    *idents `json:"responseElements"`
	AdditionalEventData *idents `json:"additionalEventData"`
	ServiceEventDetails *idents `json:"serviceEventDetails"`
}

// idents are parameters or results of a call. Those that are not text are as if they
// were not there: what we do not know must not keep us from what we do.
type idents map[string]json.RawMessage

func (p *idents) text(name string) string {
	if p == nil {
		return ""
	}
	for key, raw := range *p {
		var s string
		if strings.EqualFold(key, name) && json.Unmarshal(raw, &s) == nil {
			return s
		}
	}
	return ""
}

func (p *idents) texts(name string) (list []string) {
	if p == nil {
		return nil
	}
	for key, raw := range *p {
		if strings.EqualFold(key, name) && json.Unmarshal(raw, &list) == nil {
			return list
		}
	}
	return nil
}

// changes are the calls and service events after which a secret may have another
// value, or be there again.
var changes = map[string]bool{
	"PutSecretValue": true, "UpdateSecret": true, "UpdateSecretVersionStage": true, "RotationSucceeded": true,
	"CreateSecret": true, "RestoreSecret": true, "DeleteSecret": true,
}

const (
	source      = "aws.secretsmanager"
	eventSource = "secretsmanager.amazonaws.com"
	labelMoved  = "Secret Label Updated"
	viaTrail    = " via CloudTrail"
)

var errNotJSON = errors.New("it is not a JSON object")

// changed returns the ids of the secrets whose values changed, by what was delivered:
// an event, or some in what a queue or a topic puts around them. Nothing else is an
// error but what is no JSON; what is not about a value of a secret changes nothing.
func changed(delivered []byte) ([]string, error) {
	var e event
	if err := json.Unmarshal(delivered, &e); err != nil {
		var wrong *json.UnmarshalTypeError
		if !errors.As(err, &wrong) || wrong.Field == "" { // a member of another type is not ours
			return nil, errNotJSON // the cause quotes what was delivered
		}
	}
	var ids []string
	var inner []string
	for _, r := range e.Records {
		inner = append(inner, r.Body, r.SNS.Message)
	}
	if e.Type == "Notification" {
		inner = append(inner, e.Message)
	}
	for _, text := range inner {
		if text == "" {
			continue
		}
		more, err := changed([]byte(text))
		if err != nil {
			continue // one of many that is not ours
		}
		ids = append(ids, more...)
	}
	ids = append(ids, e.secrets()...)
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// secrets returns the ids by which the event names the secret that changed: its ARN,
// or what the call asked for if there is none. One is enough for a cache, and two have
// it fetch twice if a Get comes in between.
func (e *event) secrets() []string {
	d := e.Detail
	if e.Source != source || d == nil {
		return nil
	}
	var known, asked []string
	switch {
	case e.DetailType == labelMoved:
		asked = []string{d.Name}
	case strings.HasSuffix(e.DetailType, viaTrail) &&
		d.EventSource == eventSource && changes[d.EventName] && d.ErrorCode == "" && !d.onlyPending():
		known = []string{d.ResponseElements.text("arn"), d.AdditionalEventData.text("secretId"), d.ServiceEventDetails.text("secretId")}
		asked = []string{d.RequestParameters.text("secretId"), d.RequestParameters.text("name")}
	default:
		return nil
	}
	for _, r := range e.Resources {
		if strings.Contains(r, ":secretsmanager:") {
			known = append(known, r)
		}
	}
	for _, ids := range [][]string{known, asked} {
		if ids = slices.DeleteFunc(ids, func(id string) bool { return id == "" }); len(ids) > 0 {
			return ids
		}
	}
	return nil
}

// onlyPending reports whether a call moved nothing but AWSPENDING, as a rotation does
// first and last: no cache keeps that stage.
func (d *trailCall) onlyPending() bool {
	stages := d.RequestParameters.texts("versionStages")
	if stage := d.RequestParameters.text("versionStage"); stage != "" {
		stages = append(stages, stage)
	}
	return len(stages) > 0 && !slices.ContainsFunc(stages, func(s string) bool { return s != "AWSPENDING" })
}
