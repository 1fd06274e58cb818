using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Rlhf.Serving;

/// <summary>What the API's server and the studio have in common: Kestrel at one address, changed by no configuration file or environment variable.</summary>
internal static class LocalServer
{
    /// <summary>A builder of such a server.</summary>
    /// <param name="address">Where to listen.</param>
    /// <param name="port">TCP port; 0 takes a free one.</param>
    /// <param name="mostRequestBytes">Most bytes of a request's body.</param>
    public static WebApplicationBuilder CreateBuilder(IPAddress address, int port, long mostRequestBytes)
    {
        var builder = WebApplication.CreateEmptyBuilder(new() { ContentRootPath = AppContext.BaseDirectory });
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = mostRequestBytes;
            kestrel.Listen(address, port);
        });
        builder.Logging.AddSimpleConsole().SetMinimumLevel(LogLevel.Warning)
            .AddFilter("Microsoft.Hosting.Lifetime", LogLevel.Error)
            .AddFilter("Microsoft.Extensions.Hosting.Internal.Host", LogLevel.None); // who starts it gets the exception
        return builder;
    }

    /// <summary>Where a started server can be reached, with the port that it got.</summary>
    public static Uri AddressOf(WebApplication app)
    {
        var address = new Uri(app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First());
        bool isEvery = IPAddress.TryParse(address.DnsSafeHost, out var ip) && (ip.Equals(IPAddress.Any) || ip.Equals(IPAddress.IPv6Any));
        return isEvery ? new UriBuilder(address) { Host = "localhost" }.Uri : address;
    }
}
