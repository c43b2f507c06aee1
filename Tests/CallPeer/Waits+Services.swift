import Glibc
import IPC
import IPCChannels
import SystemPackage
import TestSupport

let serviceWaits: [Wait] = [
    Wait("ServiceChannel.Client.call(_:until:retries:)") {
        let service = try newService()
        let client = Box(try service.makeClient())
        return Wait.Case(
            call: .blocking { deadline in try client.value.call(7, until: deadline).get() == 8 },
            release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("ServiceChannel.Client.call(_:until:retries:) async") {
        let service = try newService()
        let client = Box(try service.makeClient())
        return Wait.Case(
            call: .suspending { deadline in try await client.value.call(7, until: deadline).get() == 8 },
            release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("ServiceChannel.Client.begin(_:until:retries:)") {
        let service = try newService()
        let client = Box(try service.makeClient())
        return Wait.Case(
            call: .blocking { deadline in try client.value.begin(7, until: deadline).wait().get() == 8 },
            release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("ServiceChannel.Client.begin(_:until:retries:) async") {
        let service = try newService()
        let client = Box(try service.makeClient())
        return Wait.Case(
            call: .suspending { deadline in try await client.value.begin(7, until: deadline).wait().get() == 8 },
            release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("ServiceChannel.Client.call(_:replyLimit:until:retries:_:)") {
        let service = try newByteService()
        let client = Box(try service.makeClient())
        return Wait.Case(
            call: .blocking { deadline in
                try client.value.call(three().span.bytes, replyLimit: 100, until: deadline) {
                    (reply) throws(IPCError) in
                    reply.byteCount == 3
                }.get()
            }, release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("ServiceChannel.Client.call(_:replyLimit:until:retries:_:) async") {
        let service = try newByteService()
        let client = Box(try service.makeClient())
        return Wait.Case(
            call: .suspending { deadline in
                try await client.value.call(three().span.bytes, replyLimit: 100, until: deadline) {
                    (reply) throws(IPCError) in reply.byteCount == 3
                }.get()
            }, release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("ServiceChannel.Client.begin(_:replyLimit:until:retries:)") {
        let service = try newByteService()
        let client = Box(try service.makeClient())
        return Wait.Case(
            call: .blocking { deadline in
                let call = try client.value.begin(three().span.bytes, replyLimit: 100, until: deadline)
                return try call.wait { (reply) throws(IPCError) in reply.byteCount == 3 }.get()
            }, release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("ServiceChannel.Client.begin(_:replyLimit:until:retries:) async") {
        let service = try newByteService()
        let client = Box(try service.makeClient())
        return Wait.Case(
            call: .suspending { deadline in
                let call = try await client.value.begin(three().span.bytes, replyLimit: 100, until: deadline)
                return try await call.wait { (reply) throws(IPCError) in reply.byteCount == 3 }.get()
            }, release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("ServiceChannel.Client.call(_:_:until:)") {
        let service = try newService()
        let client = Box(try service.makeClient())
        return Wait.Case(
            call: .blocking { deadline in try client.value.call(7, labelled, until: deadline).get() == 8 },
            release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("ServiceChannel.Client.call(_:_:until:) async") {
        let service = try newService()
        let client = Box(try service.makeClient())
        return Wait.Case(
            call: .suspending { deadline in try await client.value.call(7, labelled, until: deadline).get() == 8 },
            release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("ServiceChannel.Client.begin(_:_:until:)") {
        let service = try newService()
        let client = Box(try service.makeClient())
        return Wait.Case(
            call: .blocking { deadline in
                try client.value.begin(7, labelled, until: deadline).wait().get() == 8
            },
            release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("ServiceChannel.Client.begin(_:_:until:) async") {
        let service = try newService()
        let client = Box(try service.makeClient())
        return Wait.Case(
            call: .suspending { deadline in
                try await client.value.begin(7, labelled, until: deadline).wait().get() == 8
            },
            release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("ServiceChannel.Client.call(_:replyLimit:_:until:_:)") {
        let service = try newByteService()
        let client = Box(try service.makeClient())
        return Wait.Case(
            call: .blocking { deadline in
                try client.value.call(three().span.bytes, replyLimit: 100, labelled, until: deadline) {
                    (reply) throws(IPCError) in reply.byteCount == 3
                }.get()
            }, release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("ServiceChannel.Client.call(_:replyLimit:_:until:_:) async") {
        let service = try newByteService()
        let client = Box(try service.makeClient())
        return Wait.Case(
            call: .suspending { deadline in
                try await client.value.call(three().span.bytes, replyLimit: 100, labelled, until: deadline) {
                    (reply) throws(IPCError) in reply.byteCount == 3
                }.get()
            }, release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("ServiceChannel.Client.begin(_:replyLimit:_:until:)") {
        let service = try newByteService()
        let client = Box(try service.makeClient())
        return Wait.Case(
            call: .blocking { deadline in
                let call = try client.value.begin(three().span.bytes, replyLimit: 100, labelled, until: deadline)
                return try call.wait { (reply) throws(IPCError) in reply.byteCount == 3 }.get()
            }, release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("ServiceChannel.Client.begin(_:replyLimit:_:until:) async") {
        let service = try newByteService()
        let client = Box(try service.makeClient())
        return Wait.Case(
            call: .suspending { deadline in
                let call = try await client.value.begin(
                    three().span.bytes, replyLimit: 100, labelled, until: deadline)
                return try await call.wait { (reply) throws(IPCError) in reply.byteCount == 3 }.get()
            }, release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("ServiceChannel.Client.call(_:replyLimit:_:until:)") {
        let service = try CodedService.openOrCreate(channelName(), smallService)
        let client = Box(try service.makeClient())
        return Wait.Case(
            call: .blocking { deadline in
                try client.value.call(7, until: deadline).get() == 8
            },
            release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("ServiceChannel.Client.call(_:replyLimit:_:until:) async") {
        let service = try CodedService.openOrCreate(channelName(), smallService)
        let client = Box(try service.makeClient())
        return Wait.Case(
            call: .suspending { deadline in
                try await client.value.call(7, until: deadline).get() == 8
            },
            release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("ServiceChannel.Client.begin(_:replyLimit:_:until:)") {
        let service = try CodedService.openOrCreate(channelName(), smallService)
        let client = Box(try service.makeClient())
        return Wait.Case(
            call: .blocking { deadline in
                try client.value.begin(7, until: deadline).wait().get() == 8
            },
            release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("ServiceChannel.Client.begin(_:replyLimit:_:until:) async") {
        let service = try CodedService.openOrCreate(channelName(), smallService)
        let client = Box(try service.makeClient())
        return Wait.Case(
            call: .suspending { deadline in
                let call = try await client.value.begin(7, until: deadline)
                return try await call.wait().get() == 8
            },
            release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("ServiceChannel.Server.serveNext(until:_:)") {
        let service = try CodedService.openOrCreate(channelName(), smallService)
        let server = Box(try service.makeServer())
        let client = Box(try service.makeClient())
        let calls = Box<[CodedWaiting]>([])
        return Wait.Case(
            call: .blocking { deadline in
                try server.value.serveNext(until: deadline) { (request) throws(CodedFault) in
                    request + 1
                }
                return true
            }, release: { calls.value.append(CodedWaiting(try client.value.begin(7))) })
    },
    Wait("ServiceChannel.Server.next(until:)", "ServiceChannel.Server.tryNext()") {
        let service = try newService()
        let server = Box(try service.makeServer())
        let client = Box(try service.makeClient())
        let calls = Box<[Waiting]>([])
        return Wait.Case(
            call: .blocking { deadline in
                try server.value.next(until: deadline).reply(8)
                return true
            }, release: { calls.value.append(Waiting(try client.value.begin(7))) },
            tries: [("tryNext", { try server.value.tryNext() != nil })])
    },
    Wait("ServiceChannel.Server.next(until:) async") {
        let service = try newService()
        let server = Box(try service.makeServer())
        let client = Box(try service.makeClient())
        let calls = Box<[Waiting]>([])
        return Wait.Case(
            call: .suspending { deadline in
                try await server.value.next(until: deadline).reply(8)
                return true
            }, release: { calls.value.append(Waiting(try client.value.begin(7))) })
    },
    Wait("ServiceChannel.Server.serveNext(until:_:)") {
        let service = try newService()
        let server = Box(try service.makeServer())
        let client = Box(try service.makeClient())
        let calls = Box<[Waiting]>([])
        return Wait.Case(
            call: .blocking { deadline in
                try server.value.serveNext(until: deadline) { (request) throws(Fault) in request + 1 }
                return true
            }, release: { calls.value.append(Waiting(try client.value.begin(7))) })
    },
]

/// With something beside the request.
let labelled = CallOptions(metadata: ["tenant": "acme"])

/// A call that has been made.
private final class Waiting {
    let call: PendingCall<UInt64, Fault>
    init(_ call: consuming PendingCall<UInt64, Fault>) { self.call = call }
}

func newService() throws -> ServiceChannel<UInt64, UInt64, Fault> {
    try .openOrCreate(channelName(), smallService)
}
func newByteService() throws -> ServiceChannel<RawBytes, RawBytes, Fault> {
    try .openOrCreate(channelName(), smallService)
}

func serve(_ service: ServiceChannel<UInt64, UInt64, Fault>) throws {
    var server = try service.makeServer()
    try server.serveNext(until: .after(.seconds(20))) { (request) throws(Fault) in request + 1 }
}

/// A call of coded values that has been made.
private final class CodedWaiting {
    let call: PendingCall<Coded<Int, NumberCoder>, CodedFailure<CodedFault>>
    init(_ call: consuming PendingCall<Coded<Int, NumberCoder>, CodedFailure<CodedFault>>) { self.call = call }
}

func serve(_ service: CodedService) throws {
    var server = try service.makeServer()
    try server.serveNext(until: .after(.seconds(20))) { (request) throws(CodedFault) in
        request + 1
    }
}

func serve(_ service: ServiceChannel<RawBytes, RawBytes, Fault>) throws {
    var server = try service.makeServer()
    try server.next(until: .after(.seconds(20))).reply(three().span.bytes)
}
