#if NATS
    import Dispatch
    import Glibc

    /// Runs a task that was waiting for a small message on the thread that delivers it, until it waits again: no other thread has to wake.
    ///
    /// Such a task does not block. All else that it does runs on threads of Dispatch.
    final class DeliveryExecutor: TaskExecutor {
        static let shared = DeliveryExecutor()
        /// Larger messages keep the thread for too long: others wait for theirs.
        static let mostBytes = 4096

        private static let lent: pthread_key_t = {
            var key = pthread_key_t()
            let status = pthread_key_create(&key, nil)
            precondition(status == 0, "no key for a thread's value")
            return key
        }()

        /// Delivers a message. If a task of the executor waits for it, it goes on within this call.
        static func lendThread(_ deliver: () -> Void) {
            pthread_setspecific(lent, UnsafeRawPointer(bitPattern: 1))
            deliver()
            pthread_setspecific(lent, nil)
        }

        func enqueue(_ job: consuming ExecutorJob) {
            let job = UnownedJob(job)
            guard pthread_getspecific(Self.lent) != nil else {
                return DispatchQueue.global().async { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
            }
            // One: what that brings up runs elsewhere.
            pthread_setspecific(Self.lent, nil)
            job.runSynchronously(on: asUnownedTaskExecutor())
        }
    }
#endif
