/// The failure of a service that the `ipc` command serves or calls: the exit code of the command that answered.
///
/// A Swift program uses such a service as `Service<RawBytes, RawBytes, CommandFailure>`.
public struct CommandFailure: Error, BitwiseCopyable, Hashable {
    public var code: Int32

    public init(code: Int32) { self.code = code }
}
