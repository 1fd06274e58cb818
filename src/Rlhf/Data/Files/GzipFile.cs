using System.IO.Compression;
using Rlhf.Runtime.Text;

namespace Rlhf.Data.Files;

/// <summary>The content of a .gz file; what is wrong with the compressed data is said with the file's name.</summary>
internal sealed class GzipFile(Stream stream, string file) : Stream
{
    private readonly GZipStream unpacked = new(stream, CompressionMode.Decompress);

    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => false;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    public override int Read(Span<byte> buffer)
    {
        try
        {
            return unpacked.Read(buffer);
        }
        catch (InvalidDataException error)
        {
            throw new InvalidDataException($"{file} is not a gzip file that can be unpacked ({UntrustedText.Clean(error.Message).TrimEnd('.')}); "
                + "download or write it again.", error);
        }
    }

    public override void Flush()
    {
    }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (disposing)
            unpacked.Dispose();
        base.Dispose(disposing);
    }
}
