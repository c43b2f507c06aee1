#if Tracing
    public import Tracing

    /// A message with the context of swift-distributed-tracing: for a topic, a work queue, or a service's requests.
    ///
    /// ```swift
    /// struct Order: BitwiseCopyable { var number: UInt32 }
    /// var producer = try WorkQueue<Traced<Order>>.openOrCreate("orders").makeProducer()
    /// try producer.send(Traced(Order(number: 7)))            // the sender's context, as the instrument tells it
    /// var worker = try WorkQueue<Traced<Order>>.openOrCreate("orders").makeWorker()
    /// let job = try worker.next()
    /// job.message.withContext { withSpan("ship") { _ in print(job.message.message.number) } }
    /// ```
    ///
    /// The context takes 192 bytes before the message. It holds as many of the instrument's injected fields as fit, as text
    /// (W3C's `traceparent` takes 70).
    public struct Traced<Message: BitwiseCopyable>: BitwiseCopyable {
        private var fields = Fields()
        public var message: Message

        /// - Parameter context: The context to carry; by default that of the current task.
        public init(_ message: Message, context: ServiceContext? = .current) {
            self.message = message
            guard let context else { return }
            var collected: [String: String] = [:]
            InstrumentationSystem.instrument.inject(context, into: &collected, using: DictionaryInjector())
            // A fixed order, with the most important field first.
            func rank(_ key: String) -> String { key == "traceparent" ? "" : key }
            for (key, value) in collected.sorted(by: { rank($0.key) < rank($1.key) }) {
                fields.append("\(key)\t\(value)\n")
            }
        }

        /// The context that came with the message.
        public var context: ServiceContext {
            var context = ServiceContext.topLevel
            var carrier: [String: String] = [:]
            for line in fields.text.split(separator: "\n") {
                let parts = line.split(separator: "\t", maxSplits: 1)
                if parts.count == 2 { carrier[String(parts[0])] = String(parts[1]) }
            }
            InstrumentationSystem.instrument.extract(carrier, into: &context, using: DictionaryExtractor())
            return context
        }

        /// Runs `body` with that context as the current one.
        public func withContext<Value>(_ body: () throws -> Value) rethrows -> Value {
            try ServiceContext.$current.withValue(context, operation: body)
        }

        /// Text of up to 190 bytes.
        private struct Fields: BitwiseCopyable {
            var count: UInt16 = 0
            var bytes = [190 of UInt8](repeating: 0)

            mutating func append(_ line: String) {
                guard Int(count) + line.utf8.count <= bytes.count else { return }
                for byte in line.utf8 {
                    bytes[Int(count)] = byte
                    count += 1
                }
            }

            var text: String {
                String(decoding: (0..<min(Int(count), bytes.count)).map { bytes[$0] }, as: UTF8.self)
            }
        }
    }

    extension CallOptions {
        /// Adds the fields that the instrument injects for a context to the metadata, such as W3C's `traceparent`. So a call of
        /// any type can carry a context, and a call without one costs nothing.
        ///
        /// ```swift
        /// var options = CallOptions()
        /// options.inject(ServiceContext.current ?? .topLevel)
        /// let reply = try client.call(order, options)
        /// ```
        public mutating func inject(_ context: ServiceContext) {
            InstrumentationSystem.instrument.inject(context, into: &metadata, using: DictionaryInjector())
        }
    }

    extension CallContext {
        /// The context in the call's metadata; the top level if there is none.
        ///
        /// ```swift
        /// try await prices.serve { (order, call) in
        ///     await ServiceContext.$current.withValue(call.serviceContext) { await price(of: order) }
        /// }
        /// ```
        public var serviceContext: ServiceContext { .extracted(from: metadata) }
    }

    extension ServiceChannel.Call {
        /// The context in the call's metadata; the top level if there is none.
        public var serviceContext: ServiceContext { .extracted(from: metadata) }
    }

    extension ServiceContext {
        fileprivate static func extracted(from metadata: [String: String]) -> ServiceContext {
            var context = ServiceContext.topLevel
            if !metadata.isEmpty {
                InstrumentationSystem.instrument.extract(metadata, into: &context, using: DictionaryExtractor())
            }
            return context
        }
    }

    extension Traced: Sendable where Message: Sendable {}

    private struct DictionaryInjector: Injector {
        func inject(_ value: String, forKey key: String, into carrier: inout [String: String]) { carrier[key] = value }
    }

    private struct DictionaryExtractor: Extractor {
        func extract(key: String, from carrier: [String: String]) -> String? { carrier[key] }
    }
#endif
