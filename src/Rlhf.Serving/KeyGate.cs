using System.Security.Cryptography;
using System.Text;
using Microsoft.AspNetCore.Http;

namespace Rlhf.Serving;

/// <summary>Where there are API keys, lets nothing through without one of them but <c>/health</c>. Comparisons take the same time whatever is given.</summary>
internal sealed class KeyGate(RequestDelegate next, ServingOptions options)
{
    private const string Scheme = "Bearer ";
    private readonly byte[][] digests = [.. options.ApiKeys.Select(Digest)];

    public Task InvokeAsync(HttpContext context)
    {
        if (digests.Length == 0 || context.Request.Path == "/health" || IsKey(context.Request.Headers.Authorization.ToString()))
            return next(context);
        context.Response.Headers.WWWAuthenticate = "Bearer";
        return ApiErrors.WriteAsync(context, StatusCodes.Status401Unauthorized,
            new("The API key is missing or wrong; send it in the header Authorization: Bearer KEY.", Code: "invalid_api_key"));
    }

    private bool IsKey(string header)
    {
        if (!header.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase))
            return false;
        byte[] given = Digest(header[Scheme.Length..].Trim());
        bool isOne = false;
        foreach (byte[] digest in digests)
            isOne |= CryptographicOperations.FixedTimeEquals(given, digest);
        return isOne;
    }

    private static byte[] Digest(string text) => SHA256.HashData(Encoding.UTF8.GetBytes(text));
}
