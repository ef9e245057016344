package main

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// An event is an event of EventBridge about Secrets Manager. It has the fields of all kinds of such
// events that say which secret changed. They are documented here:
//
//   - Secrets Manager User Guide, "Secret Label Updated event": the service's own event.
//   - Secrets Manager User Guide, "AWS CloudTrail entries for Secrets Manager": calls of the API, and
//     "AWS Service Event via CloudTrail", in the form of CloudTrail records.
//   - AWS re:Post, knowledge-center/secrets-manager-arn: until February 2024 some records of calls had
//     "aRN" instead of "arn".
//
// encoding/json matches the names of fields in any case. So ARN, arn and aRN are one field, and so
// are SecretId and secretId.
type event struct {
	Source     string     `json:"source"`
	DetailType string     `json:"detail-type"`
	Resources  []string   `json:"resources"`
	Detail     *trailCall `json:"detail"`

	// An event may arrive inside a message of SQS or SNS. These are the fields of such messages.
	Records []record `json:"Records"` // what a Lambda function gets from a queue or a topic
	Type    string   `json:"Type"`    // "Notification" from SNS, over HTTP or in a queue
	Message string   `json:"Message"`
}

type record struct {
	Body string `json:"body"` // from SQS: the event or a Notification
	SNS  struct {
		Message string `json:"Message"`
	} `json:"Sns"`
}

// A trailCall is the detail of an event.
type trailCall struct {
	// Set in "Secret Label Updated".
	Name string `json:"name"`

	// Set in events from CloudTrail.
	EventSource         string  `json:"eventSource"`
	EventName           string  `json:"eventName"`
	ErrorCode           string  `json:"errorCode"`
	RequestParameters   *idents `json:"requestParameters"`
	ResponseElements    *idents `json:"responseElements"`
	AdditionalEventData *idents `json:"additionalEventData"`
	ServiceEventDetails *idents `json:"serviceEventDetails"`
}

// idents are parameters or results of a call. A value of an unexpected type counts as missing, so an
// unknown parameter does not hide the known ones.
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

// changes are the calls and service events after which a secret may have another value, or may exist
// again.
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

var errNotJSON = errors.New("not a JSON object")

// changed returns the ids of the secrets whose values changed. delivered is an event, or a message
// of a queue or a topic with events in it. Only data that is not a JSON object is an error. For an
// event that is not about a secret's value, the list is empty.
func changed(delivered []byte) ([]string, error) {
	var e event
	if err := json.Unmarshal(delivered, &e); err != nil {
		var wrong *json.UnmarshalTypeError
		if !errors.As(err, &wrong) || wrong.Field == "" { // a field of another type is ignored
			return nil, errNotJSON // without the cause, which quotes the data
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
			continue // the other messages may be events
		}
		ids = append(ids, more...)
	}
	ids = append(ids, e.secrets()...)
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// secrets returns the ids of the secret that changed: its ARN or, if the event has none, the id in
// the call. It does not return both. One id is enough for a cache; with two, the cache would fetch
// twice if a Get came in between.
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

// onlyPending reports whether a call moved only AWSPENDING, as the first and the last call of a
// rotation do. No cache keeps that stage.
func (d *trailCall) onlyPending() bool {
	stages := d.RequestParameters.texts("versionStages")
	if stage := d.RequestParameters.text("versionStage"); stage != "" {
		stages = append(stages, stage)
	}
	return len(stages) > 0 && !slices.ContainsFunc(stages, func(s string) bool { return s != "AWSPENDING" })
}
