//! The kubeconfig with which kubectl and other clients reach the API.

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// A kubeconfig for one server, whose certificate is checked against `ca_pem`. `name` is the name of its cluster, user
/// and context.
#[must_use]
pub fn kubeconfig(name: &str, server: &str, ca_pem: &str, token: &str) -> String {
    let ca = STANDARD.encode(ca_pem);
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: {name}
  cluster:
    server: {server}
    certificate-authority-data: {ca}
users:
- name: {name}
  user:
    token: {token}
contexts:
- name: {name}
  context:
    cluster: {name}
    user: {name}
    namespace: default
current-context: {name}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubeconfig_is_read_by_clients() {
        let text = kubeconfig("evenkeel", "https://127.0.0.1:6443", "PEM", "secret");
        let read = kube::config::Kubeconfig::from_yaml(&text).unwrap();
        assert_eq!(read.current_context.as_deref(), Some("evenkeel"));
        let cluster = read.clusters[0].cluster.as_ref().unwrap();
        assert_eq!(cluster.server.as_deref(), Some("https://127.0.0.1:6443"));
        assert_eq!(cluster.certificate_authority_data.as_deref(), Some("UEVN"));
    }
}
