//! The pods are what the pod security standard `restricted` asks for, and more.

use serde_json::json;
use trireme_charts::{list, text};

use super::{Rendered, pods};

pub(crate) fn restricted(rendered: &Rendered) {
    for (name, pod) in pods(rendered) {
        let spec = &pod["spec"];
        assert_eq!(spec["automountServiceAccountToken"], json!(false), "{name}");
        let context = &spec["securityContext"];
        assert_eq!(context["runAsUser"], json!(10500), "{name}");
        assert_eq!(context["runAsGroup"], json!(10500), "{name}");
        assert_eq!(context["fsGroup"], json!(10500), "{name}");
        assert_eq!(context["runAsNonRoot"], json!(true), "{name}");
        assert_eq!(text(context, "/seccompProfile/type"), "RuntimeDefault", "{name}");
        for field in ["hostNetwork", "hostPID", "hostIPC"] {
            assert!(spec.get(field).is_none(), "{name}: {field}");
        }
        for container in list(pod, "/spec/containers") {
            let context = &container["securityContext"];
            assert_eq!(context["allowPrivilegeEscalation"], json!(false), "{name}");
            assert_eq!(context["readOnlyRootFilesystem"], json!(true), "{name}");
            assert_eq!(context["capabilities"]["drop"], json!(["ALL"]), "{name}");
            assert!(container["resources"]["limits"]["memory"].is_string(), "{name}");
            let image = text(container, "/image");
            assert!(
                !image.starts_with('/') && (image.contains(':')) && !image.ends_with(':'),
                "{name}: {image}"
            );
            passwords(rendered, &name, container);
        }
    }
    // Keys are for their own component: nobody else mounts them.
    for (name, pod) in pods(rendered) {
        for volume in list(pod, "/spec/volumes") {
            for source in list(volume, "/projected/sources") {
                for item in list(source, "/secret/items") {
                    let (key, path) = (text(item, "/key"), text(item, "/path"));
                    let own = text(volume, "/name").trim_end_matches("-keystore");
                    if let Some(owner) = key.strip_suffix(".key").filter(|owner| *owner != "tls") {
                        assert_eq!(path, "mg.key", "{name}");
                        assert!(
                            own == owner || own == "keystore" && owner == "adapter",
                            "{name}: {volume}"
                        );
                    }
                }
            }
        }
    }
}

/// A password as text is there only when the values say so, or for an API Manager, whose own default it is.
fn passwords(rendered: &Rendered, name: &str, container: &serde_json::Value) {
    for variable in list(container, "/env") {
        let (variable_name, value) = (text(variable, "/name"), text(variable, "/value"));
        let is_password = variable_name.ends_with("_pwd") || variable_name.ends_with("Token");
        let manager = ["cp_admin_pwd", "tm_admin_pwd"].contains(&variable_name)
            && rendered.values.contains("APIM_AS_CP");
        let said = rendered
            .values
            .contains(&format!("name: {variable_name}, value:"));
        assert!(
            !is_password || value.is_empty() || manager || said,
            "{name}: {variable_name}={value}"
        );
    }
}
