//! Who asks, what for, and on which terms: what the author of a service says about a request.

use crate::control::Terms;
use crate::request::{Attributes, RequestInfo};
use crate::seats::Work;
use http::Request;

/// Tells who asks, and what for. A closure that returns [`Attributes`] or a [`Classified`] does.
pub trait Classify<B> {
    /// What flow control is to know about a request.
    fn classify(&self, request: &Request<B>) -> Classified;
}

/// What flow control knows about a request of HTTP.
///
/// ```
/// use http::Request;
/// use seaway_apf::Attributes;
/// use seaway_apf::layer::{Classified, Hold};
///
/// fn classify<B>(request: &Request<B>) -> Classified {
///     let who = Attributes::user("ann").asks(request.into());
///     match request.uri().path() {
///         "/export" => Classified::from(who).cost(10),
///         "/events" => Classified::from(who).hold(Hold::UntilResponse),
///         _ => who.into(),
///     }
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Classified {
    /// Who asks, and what for.
    pub attributes: Attributes,
    /// Cost, weight, times. What is absent in it, the layer fills in from the request.
    pub terms: Terms,
    /// When its seats are given back; `None` for what the layer says.
    pub hold: Option<Hold>,
}

/// When the seats of a request are given back, if its handler does nothing about them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hold {
    /// When the body of the response has ended or is dropped: a stream holds its seats to its end. A
    /// connection that is upgraded has an empty response, and holds none from then on.
    #[default]
    UntilBodyEnds,
    /// When the response starts: right for long streams, whose cost is in the start.
    UntilResponse,
}

impl Classified {
    /// With a cost instead of the library's own estimate: a number of seats, or [`Work`].
    #[must_use]
    pub fn cost(self, cost: impl Into<Work>) -> Self {
        Self { terms: self.terms.cost(cost), ..self }
    }

    /// With a weight of its flow within the level.
    #[must_use]
    pub fn weight(self, weight: u32) -> Self {
        Self { terms: self.terms.weight(weight), ..self }
    }

    /// With these terms.
    #[must_use]
    pub fn terms(self, terms: Terms) -> Self {
        Self { terms, ..self }
    }

    /// With a time to give the seats back.
    #[must_use]
    pub fn hold(self, hold: Hold) -> Self {
        Self { hold: Some(hold), ..self }
    }
}

impl From<Attributes> for Classified {
    fn from(attributes: Attributes) -> Self {
        Self { attributes, terms: Terms::default(), hold: None }
    }
}

impl<B, F, C> Classify<B> for F
where
    F: Fn(&Request<B>) -> C,
    C: Into<Classified>,
{
    fn classify(&self, request: &Request<B>) -> Classified {
        self(request).into()
    }
}

impl<B> From<&Request<B>> for RequestInfo {
    /// Method and URL of a request of any version of HTTP.
    fn from(request: &Request<B>) -> Self {
        let target = request.uri().path_and_query().map_or("", http::uri::PathAndQuery::as_str);
        Self::parse(request.method().as_str(), target)
    }
}
