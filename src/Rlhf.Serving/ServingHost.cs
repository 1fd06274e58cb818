using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Rlhf.Runtime;

namespace Rlhf.Serving;

/// <summary>A server of models without the studio: OpenAI's endpoints, <c>/health</c> and <c>/metrics</c>.</summary>
internal sealed class ServingHost : IAsyncDisposable
{
    private static readonly TimeSpan LastMoments = TimeSpan.FromSeconds(3);
    private readonly WebApplication app;
    private readonly LoadedModels models;
    private readonly Traffic traffic;

    /// <summary>A server that is ready to start. No configuration file or environment variable changes it.</summary>
    /// <param name="options">To whom it serves.</param>
    /// <param name="models">What it serves; disposed with this.</param>
    /// <param name="metrics">What the models count with.</param>
    /// <exception cref="ConfigurationException">Settings are impossible.</exception>
    public ServingHost(ServingOptions options, LoadedModels models, ServingMetrics metrics)
    {
        ConfigurationException.ThrowIfAny([.. options.Validate()]);
        (this.models, traffic) = (models, new(metrics));
        var builder = LocalServer.CreateBuilder(options.Address, options.Port, options.MaxBodyBytes);
        builder.Services.AddRouting();
        builder.Services.AddSingleton(options);
        builder.Services.AddSingleton(options.Limits);
        builder.Services.AddSingleton<IServedModels>(models);
        app = builder.Build();
        app.Use(next => context => traffic.InvokeAsync(context, next));
        // A page of another site cannot know a key.
        if (options.ApiKeys.Count == 0)
            app.UseMiddleware<HostCheck>(options.Address, "the server");
        app.UseMiddleware<KeyGate>();
        app.UseStatusCodePages(status => ApiErrors.WriteStatusAsync(status.HttpContext));
        app.UseRouting();
        app.MapOpenAi();
        app.MapGet("/health", () => traffic.IsStopping
            ? Results.Json(new { Status = "stopping" }, ApiErrors.Json, statusCode: StatusCodes.Status503ServiceUnavailable)
            : Results.Json(new { Status = "ok" }, ApiErrors.Json));
        app.MapGet("/metrics", () => Results.Text(metrics.Write(models.Completers), ServingMetrics.ContentType));
    }

    /// <summary>Where a started server can be reached, with the port that it got.</summary>
    public Uri Address => LocalServer.AddressOf(app);

    /// <summary>Begins to listen.</summary>
    /// <exception cref="IOException">The port cannot be had.</exception>
    public Task StartAsync(CancellationToken cancellation) => app.StartAsync(cancellation);

    /// <summary>Ends the server: new requests are refused with 503, those that are being answered may be finished within a time.</summary>
    /// <param name="limit">The time; what is not whole by then is answered with an error.</param>
    public async Task StopAsync(TimeSpan limit)
    {
        var finished = traffic.StopAsync();
        if (await Task.WhenAny(finished, Task.Delay(limit)) != finished)
        {
            models.Dispose();
            await Task.WhenAny(finished, Task.Delay(LastMoments));
        }
        using var moments = new CancellationTokenSource(LastMoments);
        await app.StopAsync(moments.Token);
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await app.DisposeAsync();
        models.Dispose();
    }
}
