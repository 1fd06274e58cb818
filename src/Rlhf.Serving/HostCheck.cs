using System.Net;
using Microsoft.AspNetCore.Http;

namespace Rlhf.Serving;

/// <summary>
/// Refuses requests that another site's page sends. A name that a stranger's DNS points at this machine (DNS rebinding) is no host
/// of the server; a page of another origin shows itself by Origin or Sec-Fetch-Site.
/// </summary>
/// <param name="next">What comes behind.</param>
/// <param name="listensOn">The address that the server listens on.</param>
/// <param name="server">What the server is called, such as "the studio".</param>
internal sealed class HostCheck(RequestDelegate next, IPAddress listensOn, string server)
{
    public Task InvokeAsync(HttpContext context)
    {
        var request = context.Request;
        if (!IsOwnHost(request.Host.Host, listensOn))
            return Refuse(context, $"This host name is not {server}'s. Use localhost, or the address that it printed.");
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
