//! The form that an answer has to have: `response_format` of OpenAI, `structured_outputs` and `guided_…` of vLLM.

use serde::Deserialize;

use super::values::Json;
use crate::api::{ApiError, text::Text};

/// What an answer has to match.
pub(crate) enum Form {
    /// Any JSON object.
    JsonObject,
    /// JSON of a schema.
    JsonSchema(Text),
    /// A regular expression.
    Regex(Text),
    /// A grammar in Lark's notation.
    Grammar(Text),
    /// One of these.
    Choice(Vec<Text>),
}

/// `response_format`
#[derive(Deserialize)]
pub(super) struct ResponseFormat {
    #[serde(rename = "type")]
    kind: String,
    json_schema: Option<NamedSchema>,
}

#[derive(Deserialize)]
struct NamedSchema {
    schema: Option<Json>,
}

/// `structured_outputs`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StructuredOutputs {
    json: Option<Json>,
    json_object: Option<bool>,
    regex: Option<Text>,
    choice: Option<Vec<Text>>,
    grammar: Option<Text>,
}

/// All the places where a form can be asked for.
pub(super) struct Forms {
    pub(super) response_format: Option<ResponseFormat>,
    pub(super) structured_outputs: Option<StructuredOutputs>,
    pub(super) guided_json: Option<Json>,
    pub(super) guided_regex: Option<Text>,
    pub(super) guided_choice: Option<Vec<Text>>,
    pub(super) guided_grammar: Option<Text>,
}

impl Forms {
    /// The one that is asked for, with the name of the parameter that did; two are a contradiction.
    pub(super) fn one(self) -> Result<Option<(Form, &'static str)>, ApiError> {
        let outputs = self.structured_outputs.unwrap_or(StructuredOutputs {
            json: None,
            json_object: None,
            regex: None,
            choice: None,
            grammar: None,
        });
        let outer = "structured_outputs";
        let format = match self.response_format {
            Some(format) => format.form()?,
            None => None,
        };
        let schema = |json: Option<Json>, name| json.map(|json| schema(json, name)).transpose();
        let forms = [
            (format, "response_format"),
            (schema(outputs.json, outer)?, outer),
            (
                outputs
                    .json_object
                    .filter(|asked| *asked)
                    .map(|_| Form::JsonObject),
                outer,
            ),
            (outputs.regex.map(Form::Regex), outer),
            (outputs.choice.map(Form::Choice), outer),
            (outputs.grammar.map(Form::Grammar), outer),
            (schema(self.guided_json, "guided_json")?, "guided_json"),
            (self.guided_regex.map(Form::Regex), "guided_regex"),
            (self.guided_choice.map(Form::Choice), "guided_choice"),
            (self.guided_grammar.map(Form::Grammar), "guided_grammar"),
        ];
        let mut asked = forms.into_iter().filter_map(|(form, name)| Some((form?, name)));
        let first = asked.next();
        match asked.next() {
            Some((_, name)) => Err(ApiError::parameter(name)),
            None => Ok(first),
        }
    }
}

impl ResponseFormat {
    fn form(self) -> Result<Option<Form>, ApiError> {
        let name = "response_format";
        match self.kind.as_str() {
            "text" => Ok(None),
            "json_object" => Ok(Some(Form::JsonObject)),
            "json_schema" => {
                let given = self.json_schema.and_then(|named| named.schema);
                schema(given.ok_or(ApiError::parameter(name))?, name).map(Some)
            }
            _ => Err(ApiError::parameter(name)),
        }
    }
}

/// A schema as JSON, or as a string that holds JSON.
fn schema(Json(text): Json, name: &'static str) -> Result<Form, ApiError> {
    if !text.expose().starts_with('"') {
        return Ok(Form::JsonSchema(text));
    }
    serde_json::from_str(text.expose())
        .map(Form::JsonSchema)
        .map_err(|_| ApiError::parameter(name))
}
