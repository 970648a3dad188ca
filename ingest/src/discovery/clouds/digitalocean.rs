//! `digitalocean_sd`: the droplets or the managed databases of an account.

use std::collections::BTreeMap;

use super::super::ask::{Ask, DiscoveryError, answer, ask_pages, get, refresh_by};
use super::super::meta::{Meta, host_port, one_group};
use crate::scrape::TargetGroup;

const BASE: &str = "https://api.digitalocean.com/v2";
const PREFIX: &str = "__meta_digitalocean_";

/// Databases of one page.
const DATABASES_PER_PAGE: usize = 100;

/// What becomes targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Virtual machines.
    Droplets,
    /// Managed databases.
    Databases,
}

/// See the module.
pub struct DigitalOcean {
    /// What becomes targets.
    pub role: Role,
    /// The port of the targets.
    pub port: u16,
}

answer! {
    /// Some of the droplets.
    Droplets { droplets: Vec<Droplet> = "droplets", links: Links = "links", }
}

answer! {
    /// How it goes on.
    Links { pages: Pages = "pages", }
}

answer! {
    /// URLs of other pages.
    Pages { next: Option<String> = "next", }
}

answer! {
    /// A droplet.
    Droplet {
        id: i64 = "id",
        name: String = "name",
        image: Image = "image",
        region: Region = "region",
        size: String = "size_slug",
        status: String = "status",
        vpc: String = "vpc_uuid",
        features: Vec<String> = "features",
        tags: Vec<String> = "tags",
        networks: Networks = "networks",
    }
}

answer! {
    /// What a droplet was made of.
    Image { slug: String = "slug", name: String = "name", }
}

answer! {
    /// Where a droplet is.
    Region { slug: String = "slug", }
}

answer! {
    /// The addresses of a droplet.
    Networks { v4: Vec<Address> = "v4", v6: Vec<Address> = "v6", }
}

answer! {
    /// An address, which is `public` or `private`.
    Address { ip: String = "ip_address", kind: String = "type", }
}

answer! {
    /// Some of the databases.
    Databases { databases: Vec<Database> = "databases", }
}

answer! {
    /// A cluster of a managed database.
    Database {
        id: String = "id",
        name: String = "name",
        engine: String = "engine",
        version: String = "version",
        status: String = "status",
        region: String = "region",
        size: String = "size",
        nodes: i64 = "num_nodes",
        private: Option<Connection> = "private_connection",
        public: Option<Connection> = "connection",
        tags: Vec<String> = "tags",
    }
}

answer! {
    /// How a database is reached.
    Connection { host: String = "host", }
}

impl DigitalOcean {
    async fn list(&self, ask: &dyn Ask) -> Result<Vec<TargetGroup>, DiscoveryError> {
        match self.role {
            Role::Droplets => self.droplets(ask).await,
            Role::Databases => self.databases(ask).await,
        }
    }

    async fn droplets(&self, ask: &dyn Ask) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let next = |page: &Droplets, _| page.links.pages.next.clone();
        let pages = ask_pages(ask, get(&format!("{BASE}/droplets?per_page=200"))?, next).await?;
        let droplets = pages.into_iter().flat_map(|page| page.droplets);
        let reachable = droplets.filter(|droplet| !droplet.networks.v4.is_empty());
        Ok(one_group("DigitalOcean", reachable.map(|droplet| self.droplet(droplet)).collect()))
    }

    fn droplet(&self, droplet: Droplet) -> BTreeMap<String, String> {
        let first = |addresses: &[Address], kind: &str| {
            let found = addresses.iter().find(|address| address.kind == kind);
            found.map(|address| address.ip.clone()).unwrap_or_default()
        };
        let public = first(&droplet.networks.v4, "public");
        let address = host_port(&public, self.port);
        let mut meta = Meta::with(
            PREFIX,
            [
                ("droplet_id", droplet.id.to_string()),
                ("droplet_name", droplet.name),
                ("image", droplet.image.slug),
                ("image_name", droplet.image.name),
                ("private_ipv4", first(&droplet.networks.v4, "private")),
                ("public_ipv4", public),
                ("public_ipv6", first(&droplet.networks.v6, "public")),
                ("region", droplet.region.slug),
                ("size", droplet.size),
                ("status", droplet.status),
                ("vpc", droplet.vpc),
            ],
        );
        meta.set_list("features", ",", &droplet.features).set_list("tags", ",", &droplet.tags);
        meta.at(address)
    }

    async fn databases(&self, ask: &dyn Ask) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let url =
            |page: usize| format!("{BASE}/databases?page={page}&per_page={DATABASES_PER_PAGE}");
        // The answer does not say how many there are.
        let next = |page: &Databases, number| {
            (page.databases.len() >= DATABASES_PER_PAGE).then(|| url(number + 1))
        };
        let pages = ask_pages(ask, get(&url(1))?, next).await?;
        let databases = pages.into_iter().flat_map(|page| page.databases);
        let targets = databases.map(|database| self.database(database)).collect();
        Ok(one_group("DigitalOcean Databases", targets))
    }

    fn database(&self, database: Database) -> BTreeMap<String, String> {
        let host = |connection: Option<Connection>| connection.unwrap_or_default().host;
        let (private, public) = (host(database.private), host(database.public));
        let address = if private.is_empty() { public.clone() } else { private.clone() };
        let mut meta = Meta::with(
            PREFIX,
            [
                ("db_id", database.id),
                ("db_name", database.name),
                ("db_engine", database.engine),
                ("db_version", database.version),
                ("db_status", database.status),
                ("db_region", database.region),
                ("db_size", database.size),
                ("db_num_nodes", database.nodes.to_string()),
                ("db_private_host", private),
                ("db_host", public),
            ],
        );
        for tag in &database.tags {
            meta.set(&format!("db_tag_{tag}"), "true");
        }
        if address.is_empty() {
            meta.into_labels()
        } else {
            meta.at(host_port(&address, self.port))
        }
    }
}

refresh_by!(DigitalOcean, list);

#[cfg(test)]
mod tests {
    use super::super::super::ask::recorded::{Recorded, refresh, shown};
    use super::*;

    #[test]
    fn droplets_on_two_pages() {
        let ask = Recorded::new(&[
            (
                "?page=2",
                200,
                r#"{"droplets": [{"id": 2, "networks": {"v4": []}}], "links": {"pages": {"first": "x"}}}"#,
            ),
            (
                "/droplets",
                200,
                r#"{"droplets": [{"id": 1, "name": "web", "status": "active", "features": ["backups", "ipv6"], "tags": ["a", "b"], "size_slug": "s-1vcpu-1gb", "vpc_uuid": "f9b",
                   "image": {"slug": "ubuntu-16-04-x64", "name": "16.04.6 (LTS) x64"}, "region": {"slug": "nyc1"},
                   "networks": {"v4": [{"ip_address": "10.0.0.1", "type": "private"}, {"ip_address": "104.236.32.182", "type": "public"}], "v6": [{"ip_address": "2604::1", "type": "public"}]}}],
                   "links": {"pages": {"next": "https://api.digitalocean.com/v2/droplets?page=2"}}}"#,
            ),
        ]);
        let mut droplets = DigitalOcean { role: Role::Droplets, port: 80 };
        assert_eq!(
            shown(&refresh(&mut droplets, &ask).unwrap()),
            r#"DigitalOcean {}
  {"__address__": "104.236.32.182:80", "__meta_digitalocean_droplet_id": "1", "__meta_digitalocean_droplet_name": "web", "__meta_digitalocean_features": ",backups,ipv6,", "__meta_digitalocean_image": "ubuntu-16-04-x64", "__meta_digitalocean_image_name": "16.04.6 (LTS) x64", "__meta_digitalocean_private_ipv4": "10.0.0.1", "__meta_digitalocean_public_ipv4": "104.236.32.182", "__meta_digitalocean_public_ipv6": "2604::1", "__meta_digitalocean_region": "nyc1", "__meta_digitalocean_size": "s-1vcpu-1gb", "__meta_digitalocean_status": "active", "__meta_digitalocean_tags": ",a,b,", "__meta_digitalocean_vpc": "f9b"}
"#
        );
    }

    #[test]
    fn databases_by_their_private_address() {
        let ask = Recorded::new(&[(
            "/databases?page=1&per_page=100",
            200,
            r#"{"databases": [{"id": "9cc1", "name": "db", "engine": "pg", "version": "8", "status": "online", "region": "nyc3", "size": "s", "num_nodes": 2, "connection": {"host": "pub"}, "private_connection": {"host": "priv"}, "tags": ["prod"]}]}"#,
        )]);
        let mut databases = DigitalOcean { role: Role::Databases, port: 9273 };
        assert_eq!(
            shown(&refresh(&mut databases, &ask).unwrap()),
            r#"DigitalOcean Databases {}
  {"__address__": "priv:9273", "__meta_digitalocean_db_engine": "pg", "__meta_digitalocean_db_host": "pub", "__meta_digitalocean_db_id": "9cc1", "__meta_digitalocean_db_name": "db", "__meta_digitalocean_db_num_nodes": "2", "__meta_digitalocean_db_private_host": "priv", "__meta_digitalocean_db_region": "nyc3", "__meta_digitalocean_db_size": "s", "__meta_digitalocean_db_status": "online", "__meta_digitalocean_db_tag_prod": "true", "__meta_digitalocean_db_version": "8"}
"#
        );
    }
}
