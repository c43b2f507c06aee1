#if NATS
    // The directory's bucket on the server.
    extension Directory {
        /// Follows the bucket and publishes, until the task is cancelled.
        ///
        /// - Parameter replicas: On how many servers the bucket is stored, if it is new.
        func run(replicas: Int) async throws {
            let bucket = Bucket(connection, names.directoryBucket, replicas: replicas)
            try await bucket.ensure()
            beginAnew()
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await self.follow(bucket) }
                group.addTask { try await self.publish(to: bucket) }
                try await group.next()
                group.cancelAll()
            }
        }

        private func follow(_ bucket: Bucket) async throws {
            let watch = bucket.watch()
            defer { watch.close() }
            while !Task.isCancelled {
                switch try await watch.next() {
                case .entry(let entry):
                    set(entry.key, entry.value.map { String(decoding: $0, as: UTF8.self) }, revision: entry.revision)
                case .complete: setComplete()
                case nil: continue
                }
            }
        }

        private func publish(to bucket: Bucket) async throws {
            while !Task.isCancelled {
                for (key, json) in unpublished {
                    do throws(BridgeError) {
                        setPublished(key, json, revision: try await bucket.put(key, Array(json.utf8)))
                    } catch {
                        guard case .tooLarge = error else { throw error }
                        // Others cannot have that channel; they can have the rest.
                        giveUp(key, json, error.description)
                    }
                }
                await waitForUnpublished()
            }
        }
    }
#endif
