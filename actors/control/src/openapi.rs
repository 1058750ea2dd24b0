//! Builds the router and its OpenAPI document from one list, so that `/api/openapi.json` describes the routes that are
//! served, and no others.

use std::collections::BTreeMap;

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodFilter, on};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::error::Refusal;

/// A router, and the OpenAPI document that describes it.
pub(super) struct Api<S> {
    router: Router<S>,
    schemas: SchemaGenerator,
    paths: BTreeMap<&'static str, Map<String, Value>>,
}

/// The description of one route.
#[derive(Default)]
pub(super) struct Operation {
    summary: &'static str,
    body: Option<Value>,
    query: Vec<Value>,
    headers: Vec<Value>,
    answer: Option<(&'static str, Value)>,
}

impl<S: Clone + Send + Sync + 'static> Api<S> {
    pub fn new() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        });
        Api { router: Router::new(), schemas: settings.into_generator(), paths: BTreeMap::new() }
    }

    /// Serves `method` of `path` with `handler`; `describe` adds body, query and answer to the description.
    pub fn route<H, T>(
        mut self,
        method: &'static str,
        path: &'static str,
        summary: &'static str,
        handler: H,
        describe: impl FnOnce(&mut Operation, &mut SchemaGenerator),
    ) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        let filter = match method {
            "get" => MethodFilter::GET,
            "put" => MethodFilter::PUT,
            "post" => MethodFilter::POST,
            "delete" => MethodFilter::DELETE,
            other => unreachable!("no route is served for {other}"),
        };
        let mut operation = Operation { summary, ..Operation::default() };
        describe(&mut operation, &mut self.schemas);
        let description = operation.into_json(path);
        self.paths.entry(path).or_default().insert(method.to_owned(), description);
        self.router = self.router.route(path, on(filter, handler));
        self
    }

    pub fn finish(mut self) -> (Router<S>, Value) {
        let refusal = self.schemas.subschema_for::<Refusal>();
        let document = json!({
            "openapi": "3.1.0",
            "info": {
                "title": "Control of a run",
                "version": env!("CARGO_PKG_VERSION"),
                "description": "Watches and steers a running run. Every request carries the token from control.json \
                                in the run directory.",
            },
            "security": [{ "token": [] }],
            "paths": self.paths,
            "components": {
                "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
                "responses": {
                    "Refused": {
                        "description": "Refused; one line says why.",
                        "content": { "application/json": { "schema": refusal } },
                    },
                },
                "schemas": self.schemas.take_definitions(true),
            },
        });
        (self.router, document)
    }
}

impl Operation {
    /// Describes the JSON body.
    pub fn body<T: JsonSchema>(&mut self, schemas: &mut SchemaGenerator) -> &mut Self {
        self.body = Some(schemas.subschema_for::<T>().to_value());
        self
    }

    /// Describes the query string by the fields of `T`.
    pub fn query<T: JsonSchema>(&mut self, schemas: &mut SchemaGenerator) -> &mut Self {
        let schema = schemas.root_schema_for::<T>().to_value();
        let fields = schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
        let parameter = |(name, mut schema): (String, Value)| {
            let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
            json!({ "name": name, "in": "query", "description": description, "schema": schema })
        };
        self.query = fields.into_iter().map(parameter).collect();
        self
    }

    /// Describes the header by which a change from a stale view is refused.
    pub fn if_match(&mut self) -> &mut Self {
        self.headers.push(json!({
            "name": "If-Match", "in": "header", "schema": { "type": "string" },
            "description": "The ETag of the state that the change was made from. If the conditions have changed since, \
                            the change is refused with 409, and `stale` says what was changed.",
        }));
        self
    }

    /// Describes the answer as JSON.
    pub fn answers<T: JsonSchema>(&mut self, schemas: &mut SchemaGenerator) -> &mut Self {
        self.answer = Some(("application/json", schemas.subschema_for::<T>().to_value()));
        self
    }

    /// Describes the answer by its media type.
    pub fn answers_with(&mut self, media_type: &'static str) -> &mut Self {
        self.answer = Some((media_type, json!({})));
        self
    }

    fn into_json(self, path: &str) -> Value {
        let in_path =
            path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).map(|name| {
                let kind = if name == "seed" || name == "number" { "integer" } else { "string" };
                json!({ "name": name, "in": "path", "required": true, "schema": { "type": kind } })
            });
        let parameters: Vec<Value> = in_path.chain(self.query).chain(self.headers).collect();
        let (media_type, schema) = self.answer.unwrap_or(("application/json", json!({})));
        let mut operation = json!({
            "summary": self.summary,
            "parameters": parameters,
            "responses": {
                "200": { "description": "Done.", "content": { media_type: { "schema": schema } } },
                "default": { "$ref": "#/components/responses/Refused" },
            },
        });
        if let Some(schema) = self.body {
            operation["requestBody"] = json!({ "content": { "application/json": { "schema": schema } } });
        }
        operation
    }
}
