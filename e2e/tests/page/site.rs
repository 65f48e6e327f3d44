//! A whole installation without pods: service, operator, one worker.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use trellis_crds::InputKind;
use trellis_e2e::kubelet::Kubelet;
use trellis_e2e::sim::Fleet;
use trellis_e2e::{ApiServer, operator_settings};
use trellis_operator::RunError;
use trellis_worker_core::Pace;

use crate::maker::Maker;
use crate::service::Service;

/// One test's installation.
pub(crate) struct Site {
    pub(crate) service: Service,
    operator: JoinHandle<Result<(), RunError>>,
    stop: oneshot::Sender<()>,
    _kubelet: Kubelet,
    _workers: Fleet,
}

impl Site {
    pub(crate) async fn start(name: &str) -> Self {
        let server = ApiServer::shared().await.unwrap();
        let service =
            Service::start_on(server, name, &[InputKind::Image, InputKind::Text, InputKind::Variant]).await;
        let client = server.client().await.unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async { _ = stopped.await };
        let settings = operator_settings(service.namespace.name(), "operator-1");
        let operator = tokio::spawn(trellis_operator::run(client.clone(), settings, stopped));
        let kubelet = Kubelet::play(service.namespace.api());
        // Progress is to be seen, however short the job.
        let soon = Duration::from_millis(10);
        let pace = Pace { first_progress: soon, next_progress: soon, ..Pace::default() };
        let maker = Maker::new(service.folder.path().join("outputs"));
        let workers = Fleet::start(client, service.namespace.name(), maker, pace);
        Self { service, operator, stop, _kubelet: kubelet, _workers: workers }
    }

    pub(crate) async fn stop(self) {
        let _ = self.stop.send(());
        self.operator.await.unwrap().unwrap();
        self.service.stop().await;
    }
}
