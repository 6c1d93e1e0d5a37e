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
    let configuration = options.settings.configuration()?;
    kerberos::use_keytab(&configuration)?;
    let target = options.master.target(&configuration)?;
    let WebReply { address, read_token, change_token } = block_on(async {
        let cluster = reach_target(&target, &configuration).await?;
        let mut client = cluster.rpc();
        Ok(cluster.answer(client.find_web(WebRequest {})).await?)
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
