using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.DataProtection;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using MudBlazor.Services;
using Rlhf.Runtime;
using Rlhf.Serving;
using Rlhf.Studio.Api;
using Rlhf.Studio.Hosting;
using Rlhf.Studio.Labeling;
using Rlhf.Studio.Layout;
using Rlhf.Studio.Playground;
using Rlhf.Studio.Runs;

namespace Rlhf.Studio;

/// <summary>Builds the studio: a Kestrel server for the browser of the person who runs it.</summary>
public static class StudioHost
{
    private const int MostRequestBytes = 1 << 20;

    /// <summary>A studio that is ready to start. No configuration file or environment variable changes it.</summary>
    /// <exception cref="ConfigurationException">Settings are impossible.</exception>
    public static WebApplication Build(StudioOptions options)
    {
        ConfigurationException.ThrowIfAny([.. options.Validate()]);
        var builder = LocalServer.CreateBuilder(options.Address, options.Port, MostRequestBytes);
        builder.Logging.AddFilter("Microsoft.AspNetCore.DataProtection", LogLevel.Error)
            .AddFilter("Microsoft.AspNetCore.Antiforgery", LogLevel.None); // a cookie of an earlier studio is no news
        AddServices(builder.Services, options);
        var app = builder.Build();
        app.UseMiddleware<SecurityHeaders>();
        app.UseMiddleware<HostCheck>(options.Address, "the studio");
        app.UseMiddleware<TokenGate>();
        app.UseWhen(ApiErrors.Concerns, api => api.UseStatusCodePages(status => ApiErrors.WriteStatusAsync(status.HttpContext)));
        app.UseWhen(context => !ApiErrors.Concerns(context)
                && context.Request.Headers.Accept.ToString().Contains("text/html", StringComparison.Ordinal),
            pages => pages.UseStatusCodePagesWithReExecute("/not-found"));
        app.UseRouting();
        app.UseAntiforgery();
        app.MapAssets();
        app.MapTokenLogin();
        app.MapReports();
        app.MapOpenAi(); // HostCheck refuses pages of other sites
        app.MapRazorComponents<App>().AddInteractiveServerRenderMode(
            server => server.ContentSecurityFrameAncestorsPolicy = null); // SecurityHeaders says it
        return app;
    }

    /// <summary>Where a started studio can be reached, with the port that it got.</summary>
    public static Uri AddressOf(WebApplication app) => LocalServer.AddressOf(app);

    private static void AddServices(IServiceCollection services, StudioOptions options)
    {
        services.AddSingleton(options);
        services.AddRouting();
        services.AddHttpContextAccessor();
        services.AddDataProtection().UseEphemeralDataProtectionProvider(); // nothing of a session outlives the process
        services.AddAntiforgery(antiforgery =>
        {
            antiforgery.Cookie.Name = "rlhf-antiforgery";
            antiforgery.Cookie.SameSite = SameSiteMode.Strict;
        });
        services.AddRazorComponents().AddInteractiveServerComponents(circuits =>
        {
            circuits.DisconnectedCircuitMaxRetained = 8;
            circuits.DisconnectedCircuitRetentionPeriod = TimeSpan.FromMinutes(1);
        });
        services.AddMudServices();
        services.AddSingleton<SessionToken>();
        services.AddSingleton<RunCatalog>();
        services.AddSingleton<RunFeeds>();
        services.AddSingleton<RunActions>();
        services.AddSingleton<ModelShelf>();
        services.AddSingleton<ModelChoices>();
        services.AddSingleton<IServedModels, StudioModels>();
        services.AddSingleton(new ServingLimits());
        services.AddSingleton<SideBySide>();
        services.AddSingleton<Beginnings>();
        services.AddSingleton<PairSources>();
        services.AddSingleton<LabelDesk>();
        services.AddSingleton<NextCommands>();
    }
}
