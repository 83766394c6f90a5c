//! Taints of nodes against tolerations of pods (component-helpers/scheduling/corev1/helpers.go and
//! k8s.io/api/core/v1/toleration.go, v0.34.4).

/// A taint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taint {
    /// Its key.
    pub key: String,
    /// Its value, which may be empty.
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}

/// A toleration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Toleration {
    /// The key; an empty one with `exists` tolerates all keys.
    pub key: String,
    /// The value that must be equal.
    pub value: String,
    /// Any value will do (`operator: Exists`).
    pub exists: bool,
    /// The effect; empty for all.
    pub effect: String,
    /// For how many seconds a `NoExecute` taint is tolerated; none for ever.
    pub seconds: Option<i64>,
}

impl Toleration {
    /// Whether it tolerates a taint.
    #[must_use]
    pub fn tolerates(&self, taint: &Taint) -> bool {
        (self.effect.is_empty() || self.effect == taint.effect)
            && (self.key.is_empty() || self.key == taint.key)
            && (self.exists || (self.value == taint.value && !self.key.is_empty()))
    }
}

/// The first taint that keeps new pods away (`NoSchedule`, `NoExecute`) and that nothing tolerates.
#[must_use]
pub fn first_untolerated<'a>(taints: &'a [Taint], tolerations: &[Toleration]) -> Option<&'a Taint> {
    taints
        .iter()
        .filter(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"))
        .find(|taint| !tolerations.iter().any(|toleration| toleration.tolerates(taint)))
}

/// How long a pod stays under `NoExecute` taints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stay {
    /// A taint is not tolerated: it goes at once.
    NotAtAll,
    /// So many seconds: the shortest of the tolerations that are used.
    Seconds(u64),
    /// For ever.
    Forever,
}

/// How long a pod stays under these taints (`getMinTolerationTime` of k/pkg/controller/tainteviction).
#[must_use]
pub fn stay(taints: &[Taint], tolerations: &[Toleration]) -> Stay {
    let mut shortest: Option<i64> = None;
    for taint in taints.iter().filter(|taint| taint.effect == "NoExecute") {
        // Of each taint the first toleration that fits is the one that is used.
        let Some(used) = tolerations.iter().find(|toleration| toleration.tolerates(taint)) else {
            return Stay::NotAtAll;
        };
        if let Some(seconds) = used.seconds {
            if seconds <= 0 {
                return Stay::Seconds(0);
            }
            shortest = Some(shortest.map_or(seconds, |known| known.min(seconds)));
        }
    }
    shortest.map_or(Stay::Forever, |seconds| Stay::Seconds(seconds.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taint(key: &str, effect: &str) -> Taint {
        Taint { key: key.into(), value: "v".into(), effect: effect.into() }
    }

    #[test]
    fn tolerations_match_as_upstream_has_it() {
        let base = Toleration { key: "a".into(), value: "v".into(), ..Toleration::default() };
        let table = [
            (base.clone(), true),
            (Toleration { value: "w".into(), ..base.clone() }, false),
            (Toleration { value: "w".into(), exists: true, ..base.clone() }, true),
            (Toleration { effect: "NoSchedule".into(), ..base.clone() }, true),
            (Toleration { effect: "NoExecute".into(), ..base.clone() }, false),
            (Toleration { key: "b".into(), ..base.clone() }, false),
            (Toleration { exists: true, ..Toleration::default() }, true),
            (Toleration::default(), false),
        ];
        for (toleration, wanted) in table {
            assert_eq!(toleration.tolerates(&taint("a", "NoSchedule")), wanted, "{toleration:?}");
        }
    }

    #[test]
    fn the_shortest_toleration_decides_how_long_a_pod_stays() {
        let for_seconds =
            |key: &str, seconds| Toleration { key: key.into(), exists: true, seconds, ..Toleration::default() };
        let taints = [taint("a", "NoExecute"), taint("b", "NoExecute"), taint("c", "NoSchedule")];
        let table: [(&[Toleration], Stay); 5] = [
            (&[], Stay::NotAtAll),
            (&[for_seconds("a", Some(300))], Stay::NotAtAll),
            (&[for_seconds("a", Some(300)), for_seconds("b", Some(30))], Stay::Seconds(30)),
            (&[for_seconds("a", Some(300)), for_seconds("b", None)], Stay::Seconds(300)),
            (&[for_seconds("", None)], Stay::Forever),
        ];
        for (tolerations, wanted) in table {
            assert_eq!(stay(&taints, tolerations), wanted, "{tolerations:?}");
        }
        assert_eq!(stay(&[], &[]), Stay::Forever);
    }
}
