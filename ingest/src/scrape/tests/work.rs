//! Cores that make the targets of a job together.

use super::*;

/// A thousand hosts.
fn thousand(source: &str) -> TargetGroup {
    let addresses: Vec<String> = (0..1000).map(|i| format!("{source}{i}")).collect();
    TargetGroup::of_addresses(source, addresses.iter().map(String::as_str), BTreeMap::new())
}

#[test]
fn cores_make_the_targets_together() {
    for seed in 0..4 {
        sim::run(seed, async {
            let jobs = [Arc::new(Job { groups: vec![thousand("a")], ..job() })];
            let benches: Vec<Bench> = (0..4).map(|core| Bench::on_core(core, 4)).collect();
            let apply = benches.iter().map(|bench| bench.scraper.apply(&jobs));
            futures_util::future::join_all(apply).await;
            let (groups, work): (Discovered, _) =
                ([Arc::new(thousand("b"))].into(), Work::default());
            let told = benches
                .iter()
                .map(|bench| bench.scraper.discovered(&jobs[0].name, Arc::clone(&groups), &work));
            futures_util::future::join_all(told).await;
            let made = benches.iter().map(|bench| bench.scraper.stats().targets_made);
            assert_eq!(made.sum::<u64>(), 2000, "each was made once");
            let targets = benches.iter().flat_map(|bench| bench.scraper.targets());
            let mut urls: Vec<String> = targets.map(|target| target.scrape_url).collect();
            urls.sort();
            urls.dedup();
            assert_eq!(urls.len(), 2000, "and is scraped by one core");
            for bench in &benches {
                bench.scraper.stop().await;
            }
        });
    }
}

#[test]
fn work_of_a_job_before_a_reload_is_of_no_use() {
    run(async |bench| {
        let drop = RuleOptions {
            source_labels: vec!["__address__".into()],
            regex: "b.*".into(),
            action: Action::Drop,
            ..RuleOptions::default()
        };
        let (groups, work): (Discovered, _) = ([Arc::new(thousand("b"))].into(), Work::default());
        bench.scraper.apply(&[Arc::new(job())]).await;
        bench.scraper.discovered(&job().name, Arc::clone(&groups), &work).await;
        let before = bench.scraper.targets().len();
        let relabel_rules = vec![Rule::new(drop).unwrap()];
        bench.scraper.apply(&[Arc::new(Job { relabel_rules, ..job() })]).await;
        assert_eq!(bench.scraper.targets().len(), before - 1000);
        bench.scraper.discovered(&job().name, groups, &work).await;
        assert_eq!(bench.scraper.targets().len(), before - 1000);
    });
}
