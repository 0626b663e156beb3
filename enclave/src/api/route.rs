//! Method and path to a handler.

use exchange::Request;
use wire::ProblemCode;

use super::ApiError;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// `GET /v1/models`
    Models,
    /// `GET /v1/models/{id}`
    Model(String),
    /// `POST /v1/chat/completions`
    Chat,
    /// `POST /v1/completions`
    Completions,
    /// `POST /v1/embeddings`
    Embeddings,
}

impl Route {
    /// The route of a request; a query is ignored, as published clients send none.
    pub(crate) fn of(request: &Request) -> Result<Self, ApiError> {
        let path = request.path.split('?').next().unwrap_or_default();
        let (route, method) = match path.strip_prefix("/v1/").unwrap_or_default() {
            "models" => (Self::Models, "GET"),
            "chat/completions" => (Self::Chat, "POST"),
            "completions" => (Self::Completions, "POST"),
            "embeddings" => (Self::Embeddings, "POST"),
            other => match other.strip_prefix("models/") {
                Some(id) if !id.is_empty() => (Self::Model(unescaped(id)), "GET"),
                _ => return Err(ProblemCode::NotFound.into()),
            },
        };
        if request.method != method {
            return Err(ProblemCode::MethodNotAllowed.into());
        }
        if method == "POST" && !is_json(request) {
            return Err(ProblemCode::UnsupportedMediaType.into());
        }
        Ok(route)
    }
}

/// Clients escape the `/` and `:` that model ids may have; no other escape can be part of one.
fn unescaped(id: &str) -> String {
    id.replace("%2F", "/")
        .replace("%2f", "/")
        .replace("%3A", ":")
        .replace("%3a", ":")
}

fn is_json(request: &Request) -> bool {
    let content_type = request.headers.iter().find(|(name, _)| name == "content-type");
    content_type.is_none_or(|(_, value)| {
        value
            .split(';')
            .next()
            .is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
    })
}

#[cfg(test)]
mod tests {
    use exchange::Prompt;

    use super::*;

    fn route(method: &str, path: &str, content_type: Option<&str>) -> Result<Route, ProblemCode> {
        let headers = content_type.map(|value| ("content-type".to_owned(), value.to_owned()));
        Route::of(&Request {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: headers.into_iter().collect(),
            token: None,
            body: Prompt::new(Vec::new()),
        })
        .map_err(|error| error.code)
    }

    #[test]
    fn each_route_has_one_method() {
        assert_eq!(route("GET", "/v1/models", None), Ok(Route::Models));
        assert_eq!(route("GET", "/v1/models?limit=1", None), Ok(Route::Models));
        assert_eq!(
            route("GET", "/v1/models/org%2Fname:1", None),
            Ok(Route::Model("org/name:1".to_owned()))
        );
        assert_eq!(
            route("POST", "/v1/chat/completions", Some("application/json")),
            Ok(Route::Chat)
        );
        assert_eq!(route("POST", "/v1/completions", None), Ok(Route::Completions));
        assert_eq!(
            route("POST", "/v1/models", None),
            Err(ProblemCode::MethodNotAllowed)
        );
        assert_eq!(
            route("GET", "/v1/completions", None),
            Err(ProblemCode::MethodNotAllowed)
        );
        for path in [
            "/",
            "",
            "/v1",
            "/v1/",
            "/v1/models/",
            "/v2/models",
            "/v1/chat",
            "/v1/chat/completions/",
            "models",
        ] {
            assert_eq!(route("GET", path, None), Err(ProblemCode::NotFound), "{path}");
        }
    }

    #[test]
    fn a_body_must_be_json() {
        let chat = |content_type| route("POST", "/v1/chat/completions", Some(content_type));
        assert_eq!(chat("Application/JSON; charset=utf-8"), Ok(Route::Chat));
        assert_eq!(
            chat("multipart/form-data"),
            Err(ProblemCode::UnsupportedMediaType)
        );
    }
}
