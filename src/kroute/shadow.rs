//! The installed routes, remembered in few octets: 100,000 of them share a few shapes.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::{Output, Route, RouteKey};
use crate::wire::{Address, Af, Family, V4, V6};

/// What a route does, apart from what it is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Shape {
    pub(super) incoming: u32,
    /// In order of index, each once.
    pub(super) outgoing: Vec<Output>,
}

impl Shape {
    pub(super) fn new(family: Af, incoming: u32, outgoing: &[Output]) -> Self {
        let mut outgoing = outgoing.to_vec();
        if family == Af::Ip6 {
            outgoing.iter_mut().for_each(|o| o.threshold = 1);
        }
        outgoing.sort_unstable();
        outgoing.dedup_by_key(|o| o.ifindex);
        Self { incoming, outgoing }
    }

    pub(super) fn route(&self, key: RouteKey) -> Route {
        Route { key, incoming: self.incoming, outgoing: self.outgoing.clone() }
    }

    pub(super) fn names(&self, ifindex: u32) -> bool {
        self.incoming == ifindex || self.outgoing.iter().any(|o| o.ifindex == ifindex)
    }
}

/// The routes of one family.
pub(super) struct Shadow {
    routes: Box<dyn Map>,
    shapes: HashSet<Arc<Shape>>,
}

impl Shadow {
    pub(super) fn new(family: Af) -> Self {
        let routes: Box<dyn Map> = match family {
            Af::Ip4 => Box::new(Routes::<V4>::default()),
            Af::Ip6 => Box::new(Routes::<V6>::default()),
        };
        Self { routes, shapes: HashSet::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.routes.len()
    }

    pub(super) fn get(&self, key: &RouteKey) -> Option<&Arc<Shape>> {
        self.routes.get(key)
    }

    /// Records the route in place of the one with that key.
    pub(super) fn insert(&mut self, key: &RouteKey, shape: Shape) {
        let shape = if let Some(known) = self.shapes.get(&shape) {
            Arc::clone(known)
        } else {
            let shape = Arc::new(shape);
            self.shapes.insert(Arc::clone(&shape));
            shape
        };
        if let Some(old) = self.routes.insert(key, shape) {
            self.release(&old);
        }
    }

    pub(super) fn remove(&mut self, key: &RouteKey) {
        if let Some(old) = self.routes.remove(key) {
            self.release(&old);
        }
    }

    /// Forgets a shape whose last route is gone: what remains are `old` and the set's own.
    fn release(&mut self, old: &Arc<Shape>) {
        if Arc::strong_count(old) == 2 {
            self.shapes.remove(old);
        }
    }

    pub(super) fn iter(&self) -> Box<dyn Iterator<Item = (RouteKey, &Arc<Shape>)> + '_> {
        self.routes.iter()
    }
}

/// A map from keys of one family, whichever that is.
trait Map: Send {
    fn len(&self) -> usize;
    fn get(&self, key: &RouteKey) -> Option<&Arc<Shape>>;
    fn insert(&mut self, key: &RouteKey, shape: Arc<Shape>) -> Option<Arc<Shape>>;
    fn remove(&mut self, key: &RouteKey) -> Option<Arc<Shape>>;
    fn iter(&self) -> Box<dyn Iterator<Item = (RouteKey, &Arc<Shape>)> + '_>;
}

/// By group and source; the unspecified source is (*,G).
struct Routes<F: Family>(HashMap<(F::Addr, F::Addr), Arc<Shape>>);

impl<F: Family> Default for Routes<F> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

fn pack<F: Family>(key: &RouteKey) -> Option<(F::Addr, F::Addr)> {
    let source = key.source.map_or(Some(F::Addr::UNSPECIFIED), F::Addr::from_ip)?;
    Some((F::Addr::from_ip(key.group)?, source))
}

impl<F: Family> Map for Routes<F> {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn get(&self, key: &RouteKey) -> Option<&Arc<Shape>> {
        self.0.get(&pack::<F>(key)?)
    }
    fn insert(&mut self, key: &RouteKey, shape: Arc<Shape>) -> Option<Arc<Shape>> {
        self.0.insert(pack::<F>(key)?, shape)
    }
    fn remove(&mut self, key: &RouteKey) -> Option<Arc<Shape>> {
        self.0.remove(&pack::<F>(key)?)
    }
    fn iter(&self) -> Box<dyn Iterator<Item = (RouteKey, &Arc<Shape>)> + '_> {
        Box::new(self.0.iter().map(|(&(group, source), shape)| {
            let source: Option<IpAddr> = (!source.is_unspecified()).then(|| source.into());
            (RouteKey { source, group: group.into() }, shape)
        }))
    }
}
