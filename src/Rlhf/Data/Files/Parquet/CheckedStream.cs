namespace Rlhf.Data.Files.Parquet;

/// <summary>
/// What the parquet library gets to read of a file: what was checked. Reading at the end is an error: the library takes the end
/// for bytes of ones, of which a number in its format never ends, so that it would read one for ever. Where a page holds fewer
/// values than it announces, it would also take what follows the last page for another one. And fields that the library would
/// misread are replaced (see <see cref="ThriftScan"/>).
/// </summary>
internal sealed class CheckedStream(Stream inner) : Stream
{
    private readonly List<(long At, byte[] Bytes)> replacements = [];

    /// <summary>Where the stream ends, if that is before its own end.</summary>
    public long End { get; set; } = long.MaxValue;

    /// <summary>From now on other bytes stand at a place, which lies behind those of all calls before.</summary>
    public void Replace(long at, byte[] bytes) => replacements.Add((at, bytes));

    /// <summary>All of the file, as it is.</summary>
    public void Clear()
    {
        replacements.Clear();
        End = long.MaxValue;
    }

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
        Checked(inner.Read(buffer[..Room(buffer.Length)]), buffer);

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
        Checked(await inner.ReadAsync(buffer[..Room(buffer.Length)], cancellationToken).ConfigureAwait(false), buffer.Span);

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override int ReadByte()
    {
        Span<byte> one = stackalloc byte[1];
        _ = Read(one);
        return one[0];
    }

    public override long Seek(long offset, SeekOrigin origin) => inner.Seek(offset, origin);

    public override void Flush()
    {
    }

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    private int Room(int wanted) => (int)Math.Clamp(End - inner.Position, 0, wanted);

    /// <summary>Puts the replacements into what was read.</summary>
    private int Checked(int read, Span<byte> buffer)
    {
        if (read == 0 && buffer.Length > 0)
            throw new EndOfStreamException("it goes on after its end");
        long start = inner.Position - read;
        for (int i = FirstEndingAfter(start); i < replacements.Count && replacements[i].At < start + read; i++)
        {
            var (at, bytes) = replacements[i];
            var rest = bytes.AsSpan((int)Math.Max(0, start - at));
            var target = buffer[(int)Math.Max(0, at - start)..read];
            rest[..Math.Min(rest.Length, target.Length)].CopyTo(target);
        }
        return read;
    }

    private int FirstEndingAfter(long position)
    {
        int low = 0, high = replacements.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (replacements[middle].At + replacements[middle].Bytes.Length <= position)
                low = middle + 1;
            else
                high = middle;
        }
        return low;
    }
}
