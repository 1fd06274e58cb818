using System.Globalization;
using System.Text.Json;

namespace Rlhf.Hub;

/// <summary>How the storage wants one large file: in one piece, or in parts.</summary>
internal sealed record LfsActions(PushFile File, string Oid, Uri Upload, Uri? Verify, long PartSize, IReadOnlyList<Uri> Parts)
{
    private const string Lfs = "application/vnd.git-lfs+json";

    /// <summary>Reads an object of the batch's answer; null when the storage holds it already.</summary>
    /// <exception cref="HubException">The storage refuses it.</exception>
    public static LfsActions? Read(JsonElement answer, IReadOnlyDictionary<string, PushFile> files, HubOptions options)
    {
        string oid = answer.GetProperty("oid").GetString()!;
        var file = files[oid];
        if (answer.TryGetProperty("error", out var error) && error.ValueKind == JsonValueKind.Object)
            throw new HubException(HubError.Forbidden, $"The Hub's storage refuses {file.Path}: "
                + HubText.Clean(error.TryGetProperty("message", out var message) ? message.ToString() : error.ToString()));
        if (!answer.TryGetProperty("actions", out var actions) || !actions.TryGetProperty("upload", out var upload))
            return null;
        Uri? verify = actions.TryGetProperty("verify", out var check)
            ? Address(check.GetProperty("href").GetString(), options) : null;
        var whole = new LfsActions(file, oid, Address(upload.GetProperty("href").GetString(), options), verify, file.Size, []);
        if (!upload.TryGetProperty("header", out var header) || !header.TryGetProperty("chunk_size", out var chunk))
            return whole;
        long size = long.Parse(chunk.ToString(), NumberStyles.None, CultureInfo.InvariantCulture);
        Uri[] parts = [.. header.EnumerateObject().Where(h => h.Name.All(char.IsAsciiDigit))
            .OrderBy(h => int.Parse(h.Name, NumberStyles.None, CultureInfo.InvariantCulture))
            .Select(h => Address(h.Value.GetString(), options))];
        return size > 0 && parts.Length == (file.Size + size - 1) / size ? whole with { PartSize = size, Parts = parts }
            : throw new FormatException("The parts do not add up to the file.");
    }

    /// <summary>Sends the file; the addresses are signed, so the token stays here.</summary>
    public async Task UploadAsync(
        HubHttp http, HubOptions options, HubSubject subject, HubProgressSum progress, CancellationToken cancellation)
    {
        HubCall Call(HttpMethod method, Uri address, Func<HttpContent> content) => new(method, address, subject)
        {
            Access = HubAccess.Anonymous,
            Content = content,
            Timeout = options.UploadTimeout,
        };
        if (Parts.Count == 0)
            await PutAsync(Upload, 0, File.Size).ConfigureAwait(false);
        else
        {
            var etags = new List<object>();
            for (int i = 0; i < Parts.Count; i++)
            {
                long offset = i * PartSize;
                string etag = await PutAsync(Parts[i], offset, Math.Min(PartSize, File.Size - offset)).ConfigureAwait(false)
                    ?? throw new HubException(HubError.Protocol,
                        $"The Hub's storage gave no ETag for part {i + 1} of {File.Path}.");
                etags.Add(new { partNumber = i + 1, etag });
            }
            var body = HubUpload.Body(Lfs, new { oid = Oid, parts = etags });
            await PostAsync(Call(HttpMethod.Post, Upload, body)).ConfigureAwait(false);
        }
        if (Verify is not null)
            await PostAsync(Call(HttpMethod.Post, Verify, HubUpload.Body(Lfs, new { oid = Oid, size = File.Size })) with
            { Access = HubAccess.Token }).ConfigureAwait(false);

        Task<string?> PutAsync(Uri address, long offset, long length) => http.Retry.RunAsync(async token =>
        {
            long sent = 0;
            var call = Call(HttpMethod.Put, address, () => File.Body(offset, length, bytes =>
            {
                sent += bytes;
                progress.Add(bytes);
            }));
            try
            {
                using var response = await http.SendAsync(call, token).ConfigureAwait(false);
                HubAnswer.ThrowIfFailed(response, call, options);
                progress.Add(length - sent);
                return HubAnswer.Header(response, "ETag");
            }
            catch (HubTransientException)
            {
                progress.Add(-sent);
                throw;
            }
        }, cancellation);

        Task PostAsync(HubCall call) => http.SendAsync(call with { Accept = Lfs }, (_, _) => Task.FromResult(true), cancellation);
    }

    private static Uri Address(string? href, HubOptions options) =>
        Uri.TryCreate(href, UriKind.Absolute, out var address)
        && (address.Scheme == "https" || (address.Scheme == "http" && options.Endpoint.Scheme == "http"))
            ? address : throw new FormatException("No address to upload to.");
}
