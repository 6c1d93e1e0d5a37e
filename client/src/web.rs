//! `flott web`: where the page of a cluster is, with the tokens that open it.

use flott_cluster::rest::WebTokens;
use flott_cluster::rpc::control::{WebReply, WebRequest};

use crate::arguments::WebOptions;
use crate::cluster::{block_on, reach_target};
use crate::output::say;
use crate::target::Target;
use crate::{CommandError, Ended, kerberos, yarn};

/// Prints the address.
pub(crate) fn web(options: &WebOptions) -> Result<Ended, CommandError> {
    let (configuration, target) = options.master.meant(&options.settings)?;
    kerberos::use_keytab(&configuration)?;
    let WebReply { address, read_token, change_token } = block_on(async {
        let mut cluster = reach_target(&target, &configuration).await?;
        Ok(cluster.ask(|mut client| async move { client.find_web(WebRequest {}).await }).await?)
    })?;
    let page = match &target {
        Target::YarnSession(id) if !options.direct => block_on(yarn::page(&configuration, id))?,
        _ => None,
    };
    let page = page.unwrap_or_else(|| format!("http://{address}/"));
    let tokens = WebTokens { read: read_token, change: change_token };
    say(&format!("{}\n", tokens.url(&page, !options.read_only)))?;
    Ok(Ended::Well)
}
