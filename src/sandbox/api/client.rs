//! A `kube::Client` that calls the API in this process, without a connection.

use std::{convert::Infallible, sync::Arc};

use super::Api;

impl Api {
    /// A client of this API, with the administrator's rights. Needs a Tokio runtime. Programs in containers
    /// (`pods/exec`) need a connection, so they are reached through [`super::ApiServer`] alone.
    #[must_use]
    pub fn client(self: &Arc<Self>) -> kube::Client {
        let api = Arc::clone(self);
        let service = tower::service_fn(move |request| {
            let api = Arc::clone(&api);
            async move { Ok::<_, Infallible>(api.handle(request).await) }
        });
        kube::Client::new(service, "default")
    }
}
