//! `flott web`: where the page of a cluster is, with the tokens that open it.

use flott_cluster::rest::WebTokens;
use flott_cluster::rpc::control::{WebReply, WebRequest};

use crate::arguments::WebOptions;
use crate::cluster::{block_on, reach_target};
use crate::output::say;
use crate::{CommandError, Ended, kerberos};

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
    let tokens = WebTokens { read: read_token, change: change_token };
    say(&format!("{}\n", tokens.url(&format!("http://{address}/"), !options.read_only)))?;
    Ok(Ended::Well)
}
