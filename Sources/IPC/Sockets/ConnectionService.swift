// Connections that are handled as they come, so many at a time.

extension StreamListener {
    /// Accepts connections and runs `handler` for each, so many at a time, until its task is cancelled.
    ///
    /// ```swift
    /// let listener = try StreamListener(Endpoint("unix:///run/app.sock"))
    /// try await listener.serve(concurrency: 100) { connection in
    ///     try await connection.write("hello\n".utf8.span.bytes, until: .after(.seconds(5)))
    /// }
    /// ```
    ///
    /// A connection is closed when its handler returns or throws. While `concurrency` handlers run, further clients wait in the
    /// listener's backlog. Each handler runs in a child task of this one: when the task is cancelled, so are they, and this
    /// returns once all have ended. Calls of the library end at once then.
    ///
    /// What a handler throws ends its connection only. It is passed to `onFailure`; without that, it is written to standard
    /// error in one line. Errors that only say that the task was cancelled are not told.
    ///
    /// Without a free descriptor, this tries again every 10 ms: handlers that end give theirs back.
    /// - Parameters:
    ///   - concurrency: How many handlers run at once, at least one. Each has one descriptor.
    ///   - onFailure: Gets what a handler threw, in that handler's task.
    ///   - handler: Borrows the connection.
    /// - Throws: ``IPCError/Code/invalidArgument`` for a concurrency below one; an error of the listener, after the handlers
    ///   were cancelled and have ended.
    public nonisolated(nonsending) borrowing func serve<Failure: Error>(
        concurrency: Int = 64, onFailure: (@Sendable (Failure) -> Void)? = nil,
        _ handler: @escaping @Sendable (borrowing StreamSocket) async throws(Failure) -> Void
    ) async throws(IPCError) {
        let service = ConnectionService(name: socket.handle.name, onFailure: onFailure, handler: handler)
        try await service.run(concurrency) { () async throws(IPCError) in try await accept() }
    }
}

extension PacketListener {
    /// Accepts connections and runs `handler` for each, so many at a time, until its task is cancelled; see
    /// ``StreamListener/serve(concurrency:onFailure:_:)``.
    public nonisolated(nonsending) borrowing func serve<Failure: Error>(
        concurrency: Int = 64, onFailure: (@Sendable (Failure) -> Void)? = nil,
        _ handler: @escaping @Sendable (borrowing PacketSocket) async throws(Failure) -> Void
    ) async throws(IPCError) {
        let service = ConnectionService(name: socket.handle.name, onFailure: onFailure, handler: handler)
        try await service.run(concurrency) { () async throws(IPCError) in try await accept() }
    }
}

/// What is done with the connections of a listener.
private struct ConnectionService<Connection: ~Copyable & Sendable, Failure: Error>: Sendable {
    let name: String
    let onFailure: (@Sendable (Failure) -> Void)?
    let handler: @Sendable (borrowing Connection) async throws(Failure) -> Void

    /// - Parameter accept: Waits for the next connection.
    nonisolated(nonsending) func run(
        _ concurrency: Int, accepting accept: nonisolated(nonsending) () async throws(IPCError) -> Connection
    ) async throws(IPCError) {
        guard concurrency > 0 else {
            throw IPCError(
                .invalidArgument, "serve", name,
                advice: "the number of concurrent connections is \(concurrency); it must be at least 1")
        }
        let result = await withTaskGroup(of: Void.self) { group -> Result<Void, IPCError> in
            // Those whose end was not looked at yet count as well: that takes no time once they have ended.
            var running = 0
            while !Task.isCancelled {
                if running == concurrency {
                    await group.next()
                    running -= 1
                }
                do throws(IPCError) {
                    let connection = Handover(try await accept())
                    group.addTask { await handle(connection.take()) }
                    running += 1
                } catch {
                    if error.code == .cancelled { break }
                    guard error.code == .limitReached, await pause() else {
                        group.cancelAll()
                        return .failure(error)
                    }
                }
            }
            return .success(())
        }
        try result.get()
    }

    /// - Returns: False if the system lacks what it takes to wait.
    private nonisolated(nonsending) func pause() async -> Bool {
        do throws(IPCError) {
            _ = try await Reactor.park(until: .after(.milliseconds(10))) { _ in true }
            return true
        } catch {
            return false
        }
    }

    private func handle(_ connection: consuming Connection) async {
        do throws(Failure) {
            try await handler(connection)
        } catch {
            if Task.isCancelled, (error as? IPCError)?.code == .cancelled || error is CancellationError { return }
            if let onFailure { onFailure(error) } else { tell(error) }
        }
    }

    private func tell(_ error: Failure) {
        let line = Array("\("\(name): a connection's handler threw: \(error)".escapingControls)\n".utf8)
        // To nobody, if nobody reads it.
        _ = BrokenPipeSilence().write(unsafe line.span.bytes, to: 2, flags: 0)
    }
}
