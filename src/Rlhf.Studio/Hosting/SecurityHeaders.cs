using Microsoft.AspNetCore.Http;

namespace Rlhf.Studio.Hosting;

/// <summary>What a browser may do with the studio's answers: run its own scripts, talk to it alone, and show it in no frame.</summary>
internal sealed class SecurityHeaders(RequestDelegate next)
{
    /// <summary>Styles may stand in the page: components place things by them. Scripts may not.</summary>
    private const string Policy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        + "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'self'; frame-ancestors 'none'";

    public Task InvokeAsync(HttpContext context)
    {
        var headers = context.Response.Headers;
        headers.ContentSecurityPolicy = Policy;
        headers.XContentTypeOptions = "nosniff";
        headers.XFrameOptions = "DENY";
        headers["Referrer-Policy"] = "same-origin"; // with none, a form's origin would be null
        headers["Cross-Origin-Opener-Policy"] = "same-origin";
        headers["Cross-Origin-Resource-Policy"] = "same-origin";
        headers.CacheControl = "no-store";
        return next(context);
    }
}
