namespace Rlhf.Data;

/// <summary>
/// A stream in which reading at the end is an error. The parquet library takes the end for bytes of ones, of which a number in
/// its format never ends, so that it would read one for ever. Where a page holds fewer values than it announces, it would also
/// take what follows the last page for another one.
/// </summary>
internal sealed class UnendingStream(Stream inner) : Stream
{
    /// <summary>Where the stream ends, if that is before its own end.</summary>
    public long End { get; set; } = long.MaxValue;

    public override bool CanRead => true;

    public override bool CanSeek => true;

    public override bool CanWrite => false;

    public override long Length => inner.Length;

    public override long Position
    {
        get => inner.Position;
        set => inner.Position = value;
    }

    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    public override int Read(Span<byte> buffer) =>
        Checked(inner.Read(buffer[..Room(buffer.Length)]), buffer.Length);

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
        Checked(await inner.ReadAsync(buffer[..Room(buffer.Length)], cancellationToken).ConfigureAwait(false), buffer.Length);

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override int ReadByte() => Room(1) == 1 && inner.ReadByte() is >= 0 and int value ? value : throw Ended();

    public override long Seek(long offset, SeekOrigin origin) => inner.Seek(offset, origin);

    public override void Flush()
    {
    }

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    private int Room(int wanted) => (int)Math.Clamp(End - inner.Position, 0, wanted);

    private static int Checked(int read, int wanted) => read > 0 || wanted == 0 ? read : throw Ended();

    private static EndOfStreamException Ended() => new("it goes on after its end");
}
