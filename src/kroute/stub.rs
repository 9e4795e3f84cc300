#![allow(warnings)]
use super::*;
pub(super) struct Nothing;
pub(super) fn open(_: &Options) -> Result<Nothing, Error> { todo!() }
pub(super) fn monitor(_: &Options) -> Result<Box<dyn Monitor>, Error> { todo!() }
impl System for Nothing {
    fn capabilities(&self, family: Af) -> Capabilities { todo!() }
    fn add_vif(&mut self, family: Af, vif: u16, interface: &Interface) -> std::io::Result<()> { todo!() }
    fn delete_vif(&mut self, family: Af, vif: u16, ifindex: u32) -> std::io::Result<()> { todo!() }
    fn has_vif(&mut self, family: Af, vif: u16) -> std::io::Result<bool> { todo!() }
    fn set_entry(&mut self, entry: &Entry, replaces: Option<u16>) -> std::io::Result<()> { todo!() }
    fn delete_entry(&mut self, key: &RouteKey, parent: u16) -> std::io::Result<()> { todo!() }
    fn entries(&mut self, family: Af, known: &mut dyn Iterator<Item = RouteKey>, each: &mut dyn FnMut(Installed)) -> std::io::Result<()> { todo!() }
    fn refresh(&mut self, family: Af, ifindices: &[u32]) -> std::io::Result<()> { todo!() }
    fn descriptor(&self, family: Af) -> Option<BorrowedFd<'_>> { todo!() }
    fn receive(&mut self, family: Af, limit: &mut usize) -> std::io::Result<Option<Received>> { todo!() }
}
