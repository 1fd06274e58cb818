using System.Collections.Frozen;
using System.IO.Compression;
using System.Security.Cryptography;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;

namespace Rlhf.Studio.Hosting;

/// <summary>
/// Scripts and styles, which are resources of this assembly: so they are there in a checkout, a published folder and a packed tool
/// alike, and only these can be asked for.
/// </summary>
internal static class EmbeddedAssets
{
    private const string Prefix = "assets/";

    private sealed record Asset(byte[] Content, byte[] Compressed, string Type, string Version);

    private static readonly Lazy<FrozenDictionary<string, Asset>> Assets = new(() => typeof(EmbeddedAssets).Assembly
        .GetManifestResourceNames().Where(n => n.StartsWith(Prefix, StringComparison.Ordinal))
        .ToFrozenDictionary(n => n[Prefix.Length..], Load));

    /// <summary>The address of an asset, which changes with its content.</summary>
    public static string Url(string name) => $"/assets/{name}?v={Assets.Value[name].Version}";

    public static void MapAssets(this IEndpointRouteBuilder app) => app.MapGet("/assets/{name}", (string name, HttpContext context) =>
    {
        if (!Assets.Value.TryGetValue(name, out var asset))
            return Results.NotFound();
        var (request, response) = (context.Request, context.Response);
        response.Headers.CacheControl = request.Query["v"] == asset.Version ? "private, max-age=31536000, immutable" : "no-cache";
        response.Headers.Vary = "Accept-Encoding";
        bool compressed = request.Headers.AcceptEncoding.ToString().Contains("br", StringComparison.Ordinal);
        if (compressed)
            response.Headers.ContentEncoding = "br";
        return Results.Bytes(compressed ? asset.Compressed : asset.Content, asset.Type);
    });

    private static Asset Load(string resource)
    {
        using var stream = typeof(EmbeddedAssets).Assembly.GetManifestResourceStream(resource)!;
        var content = new byte[stream.Length];
        stream.ReadExactly(content);
        using var packed = new MemoryStream();
        using (var brotli = new BrotliStream(packed, CompressionLevel.Fastest))
            brotli.Write(content);
        string type = Path.GetExtension(resource) switch
        {
            ".css" => "text/css; charset=utf-8",
            ".js" => "text/javascript; charset=utf-8",
            ".svg" => "image/svg+xml",
            _ => "application/octet-stream",
        };
        return new(content, packed.ToArray(), type, Convert.ToHexString(SHA256.HashData(content))[..12]);
    }
}
