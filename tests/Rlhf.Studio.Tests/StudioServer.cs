using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;

namespace Rlhf.Studio.Tests;

/// <summary>A studio in this process, on a free port of the loopback address, with a runs folder of its own.</summary>
public sealed class StudioServer : IAsyncDisposable
{
    private readonly WebApplication app;

    private StudioServer(WebApplication app) => this.app = app;

    public Uri Address => StudioHost.AddressOf(app);

    public T Service<T>() where T : notnull => app.Services.GetRequiredService<T>();

    public static async Task<StudioServer> StartAsync(StudioOptions options)
    {
        var app = StudioHost.Build(options with { Port = 0 });
        await app.StartAsync(TestContext.Current.CancellationToken);
        return new(app);
    }

    /// <summary>A client that keeps no cookies and follows no redirection.</summary>
    public HttpClient Client() =>
        new(new SocketsHttpHandler
        {
            AllowAutoRedirect = false,
            UseCookies = false,
            ConnectTimeout = TimeSpan.FromMinutes(2),
        })
        {
            BaseAddress = Address,
        };

    public async ValueTask DisposeAsync()
    {
        await app.StopAsync(new CancellationTokenSource(TimeSpan.FromMinutes(1)).Token);
        await app.DisposeAsync();
    }

    /// <summary>A runs folder's entry that looks like a run which is over.</summary>
    public static string MakeRun(string runs, string id, int steps = 30, string verb = "ppo", double reward = 0, bool finished = true)
    {
        string folder = Directory.CreateDirectory(Path.Combine(runs, id)).FullName;
        File.WriteAllText(Path.Combine(folder, "config.yaml"),
            $"# rlhf {verb} --config config.yaml repeats this run.\n\n# Models\nmodel: \"models/imdb-gpt2-tiny\"\nsteps: {steps}\n\n# PPO\n"
            + $"learning_rate: {(reward > 0 ? "0.0002" : "0.0001")}\nseed: 0\n");
        File.WriteAllLines(Path.Combine(folder, "metrics.jsonl"), Enumerable.Range(1, steps).Select(s => Metrics(s, reward + s * 0.05)));
        File.WriteAllLines(Path.Combine(folder, "samples.jsonl"),
            Enumerable.Range(1, steps).SelectMany(s => Enumerable.Range(0, 3).Select(r =>
            $$"""{"step":{{s}},"table":"game_log","query":"This film","response":" is text {{r}} of step {{s}}","reward":{{r - 1}}.5}""")));
        if (finished)
            File.WriteAllText(Path.Combine(folder, ".finished"), "");
        return folder;
    }

    public static string Metrics(int step, double reward) => FormattableString.Invariant(
        $$"""{"step":{{step}},"time":"2026-01-02T03:04:{{step % 60:00}}.000Z","objective/kl":{{step * 0.1}},"objective/kl_coef":0.2,"ppo/loss/policy":-0.01,"ppo/loss/value":{{1.0 / step}},"ppo/loss/total":0.1,"ppo/policy/entropy":4.1,"env/reward_mean":{{reward}},"tokens/responses_len_mean":9.5,"ppo/learning_rate":0.0001,"time/generation":0.4,"time/reward":0.1,"time/ppo/optimize/backward":0.3,"time/step":1.0}""");
}
