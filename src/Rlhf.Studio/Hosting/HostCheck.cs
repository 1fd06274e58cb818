using System.Net;
using Microsoft.AspNetCore.Http;
using Rlhf.Serving;

namespace Rlhf.Studio.Hosting;

/// <summary>
/// Refuses requests that another site's page sends. A name that a stranger's DNS points at this machine (DNS rebinding) is no host
/// of the studio; a page of another origin shows itself by Origin or Sec-Fetch-Site.
/// </summary>
internal sealed class HostCheck(RequestDelegate next, StudioOptions options)
{
    public Task InvokeAsync(HttpContext context)
    {
        var request = context.Request;
        if (!IsOwnHost(request.Host.Host, options.Address))
            return Refuse(context, "This host name is not the studio's. Use localhost, or the address that it printed.");
        if (IsForeign(request))
            return Refuse(context, "The request comes from another site.");
        return next(context);
    }

    /// <summary>
    /// Is it a name that only this machine can have? Beyond loopback, where a token is asked for, also its addresses and its name.
    /// </summary>
    internal static bool IsOwnHost(string host, IPAddress listensOn)
    {
        if (host.Equals("localhost", StringComparison.OrdinalIgnoreCase))
            return true;
        bool isAddress = IPAddress.TryParse(host.Trim('[', ']'), out var address);
        if (IPAddress.IsLoopback(listensOn))
            return isAddress && IPAddress.IsLoopback(address!);
        return isAddress || host.Split('.')[0].Equals(Environment.MachineName.Split('.')[0], StringComparison.OrdinalIgnoreCase);
    }

    private static bool IsForeign(HttpRequest request)
    {
        string? origin = request.Headers.Origin;
        if (!string.IsNullOrEmpty(origin))
            return !Uri.TryCreate(origin, UriKind.Absolute, out var uri)
                || !uri.Authority.Equals(request.Host.Value, StringComparison.OrdinalIgnoreCase);
        bool follows = HttpMethods.IsGet(request.Method) && request.Headers["Sec-Fetch-Mode"] == "navigate";
        return request.Headers["Sec-Fetch-Site"] == "cross-site" && !follows;
    }

    private static Task Refuse(HttpContext context, string why) =>
        ApiErrors.RefuseAsync(context, StatusCodes.Status403Forbidden, why, "request_forbidden");
}
