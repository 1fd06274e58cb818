using System.Net;

namespace Rlhf.Hub;

/// <summary>A part of a file as a request's body.</summary>
internal sealed class HubFileContent(string path, long offset, long length, Action<long>? sent = null) : HttpContent
{
    /// <summary>Called whenever some of it was sent, so that a long upload is not taken for a silent one.</summary>
    public Action? Alive { get; set; }

    protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) =>
        SerializeToStreamAsync(stream, context, CancellationToken.None);

    protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context, CancellationToken cancellation)
    {
        var buffer = new byte[1 << 18];
        using var file = Open();
        file.Position = offset;
        for (long left = length; left > 0;)
        {
            var part = buffer.AsMemory(0, (int)Math.Min(buffer.Length, left));
            int read = await file.ReadAsync(part, cancellation).ConfigureAwait(false);
            if (read == 0)
                throw new HubException(HubError.Disk, $"{path} became shorter while it was uploaded; push again.");
            await stream.WriteAsync(buffer.AsMemory(0, read), cancellation).ConfigureAwait(false);
            Alive?.Invoke();
            sent?.Invoke(read);
            left -= read;
        }
    }

    protected override bool TryComputeLength(out long computed)
    {
        computed = length;
        return true;
    }

    private FileStream Open()
    {
        try
        {
            return new(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 1, FileOptions.Asynchronous);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new HubException(HubError.Disk, $"{path} cannot be read: {e.Message}", e);
        }
    }
}
