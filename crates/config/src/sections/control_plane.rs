//! `[controlPlane]` and `[globalAdapter]`.

use std::time::Duration;

use crate::schema::section;
use crate::secret::Secret;

section! {
    /// WSO2 API Manager as the control plane.
    pub struct ControlPlane {
        /// Take APIs from an API Manager; the REST API of the adapter then deploys nothing.
        enabled["enabled"]: bool = false,
        /// Base of the API Manager's services.
        service_url["serviceURL" was "serviceUrl"]: String = "https://apim:9443/".to_owned(),
        /// Name; what follows the last @ is the organization, carbon.super without one.
        username["username"]: String = "admin".to_owned(),
        /// Password.
        password["password"]: Secret = Secret::new("$env{cp_admin_pwd}"),
        /// Accepted as in the original, where it has no meaning.
        sync_apis_on_start_up["syncApisOnStartUp"]: bool = false,
        /// Tell the API Manager which revisions are deployed.
        send_revision_update["sendRevisionUpdate"]: bool = false,
        /// Gateway environments that this adapter serves.
        environment_labels["environmentLabels"]: Vec<String> = vec!["Default".to_owned()],
        /// Seconds between two attempts.
        retry_interval["retryInterval"]: Duration as Seconds = Duration::from_secs(5),
        /// Take any certificate of the API Manager. For experiments only.
        skip_ssl_verification["skipSSLVerification"]: bool = false,
        /// Where the API Manager's events come from.
        broker["brokerConnectionParameters"]: BrokerConnection,
        /// Calls to the API Manager.
        http_client["HTTPClient"]: HttpClient,
        /// Workers that fetch APIs.
        request_worker_pool["requestWorkerPool"]: RequestWorkerPool,
    }
}

section! {
    /// Where the API Manager's events come from.
    pub struct BrokerConnection {
        /// Brokers in order of preference. Without `amqp` in the first, it is the connection string of an Azure
        /// Service Bus.
        event_listening_endpoints["eventListeningEndpoints"]: Vec<Secret> =
            vec![Secret::new("amqp://admin:$env{cp_admin_pwd}@apim:5672?retries='10'&connectdelay='30'")],
        /// Milliseconds between two attempts to connect.
        reconnect_interval["reconnectInterval"]: Duration as Millis = Duration::from_millis(5000),
        /// Attempts to connect.
        reconnect_retry_count["reconnectRetryCount"]: i32 = 60,
    }
}

section! {
    /// Calls to the API Manager.
    pub struct HttpClient {
        /// Seconds a call may take.
        request_timeout["requestTimeOut"]: Duration as Seconds = Duration::from_secs(30),
    }
}

section! {
    /// Workers that fetch APIs.
    pub struct RequestWorkerPool {
        /// Workers.
        pool_size["poolSize"]: i32 = 4,
        /// Requests that may wait for one worker; 0 or less is 100.
        queue_size_per_pool["queueSizePerPool"]: i32 = 1000,
        /// Seconds a worker rests after a failure.
        pause_time_after_failure["pauseTimeAfterFailure"]: Duration as Seconds = Duration::from_secs(5),
    }
}

section! {
    /// The global adapter that assigns APIs to gateways.
    pub struct GlobalAdapter {
        /// Ask it which APIs to serve.
        enabled["enabled"]: bool = false,
        /// Its host and port.
        service_url["serviceURL" was "serviceUrl"]: String = "global-adapter:18000".to_owned(),
        /// Name its certificate must hold; empty for the host of serviceURL.
        override_host_name["overrideHostName" was "overwriteHostName"]: String,
        /// Name this adapter calls itself.
        local_label["localLabel"]: String = "default".to_owned(),
        /// Seconds before the first new attempt; later ones wait longer.
        retry_interval["retryInterval"]: Duration as Seconds = Duration::from_secs(5),
    }
}
