//! Route netlink inside a namespace, one short connection per change.

use futures::TryStreamExt;
use rtnetlink::Handle;

use crate::{Error, Namespace};

/// Runs `work` with a netlink connection of `namespace`; `action` names it in the error.
pub(crate) fn with<T: Send>(
    namespace: &Namespace,
    action: &str,
    work: impl AsyncFnOnce(Handle) -> Result<T, rtnetlink::Error> + Send,
) -> Result<T, Error> {
    let action = format!("{action} in namespace {}", namespace.name());
    namespace.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        runtime.map_err(Error::system(format!("start a runtime to {action}")))?.block_on(async {
            let opened = rtnetlink::new_connection();
            let (connection, handle, _) =
                opened.map_err(Error::system(format!("open netlink to {action}")))?;
            tokio::spawn(connection);
            work(handle).await.map_err(Error::netlink(action))
        })
    })?
}

/// The index of the link `name`.
pub(crate) async fn link_index(handle: &Handle, name: &str) -> Result<u32, rtnetlink::Error> {
    let link = handle.link().get().match_name(name).execute().try_next().await?;
    link.map(|link| link.header.index).ok_or(rtnetlink::Error::RequestFailed)
}
