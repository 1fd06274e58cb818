using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.RegularExpressions;
using Microsoft.AspNetCore.Http;
using Rlhf.Runtime;
using Rlhf.Serving;
using Rlhf.Studio.Hosting;
using Rlhf.Tests;

namespace Rlhf.Studio.Tests;

public sealed class SecurityTests : IDisposable
{
    private const string Token = "correct-horse-battery";
    private readonly Fixtures.TemporaryFolder folder = new();

    [Fact]
    public async Task OnlyTheStudiosOwnNamesAreAnswered()
    {
        await using var studio = await StudioServer.StartAsync(new() { RunsFolder = folder.Path });
        Assert.Equal(IPAddress.Loopback.ToString(), studio.Address.Host);
        using var client = studio.Client();
        foreach (var (host, expected) in new[] { ("localhost", 200), ("127.0.0.1", 200), ("[::1]", 200), ("evil.example", 403),
            ("localhost.evil.example", 403), ("127.0.0.1.nip.io", 403), ("192.168.0.4", 403) })
        {
            var request = new HttpRequestMessage(HttpMethod.Get, "/") { Headers = { Host = $"{host}:{studio.Address.Port}" } };
            Assert.Equal((host, expected), (host, (int)(await client.SendAsync(request)).StatusCode));
        }
    }

    [Fact]
    public void BeyondLoopbackAddressesAndTheMachinesNameAreItsOwn()
    {
        Assert.True(HostCheck.IsOwnHost("192.168.0.4", IPAddress.Any));
        Assert.True(HostCheck.IsOwnHost(Environment.MachineName.ToLowerInvariant() + ".lan", IPAddress.Any));
        Assert.False(HostCheck.IsOwnHost("evil.example", IPAddress.Any));
    }

    [Theory]
    [InlineData("Origin", "http://evil.example")]
    [InlineData("Origin", "null")]
    [InlineData("Sec-Fetch-Site", "cross-site")]
    public async Task APageOfAnotherSiteReachesNothing(string header, string value)
    {
        await using var studio = await StudioServer.StartAsync(new() { RunsFolder = folder.Path });
        using var client = studio.Client();
        foreach (var path in new[] { "/_blazor/negotiate?negotiateVersion=1", "/login" })
        {
            var request = new HttpRequestMessage(HttpMethod.Post, path) { Headers = { { header, value } } };
            Assert.Equal(HttpStatusCode.Forbidden, (await client.SendAsync(request)).StatusCode);
        }
    }

    [Fact]
    public async Task WithATokenNothingIsAnsweredWithoutIt()
    {
        StudioServer.MakeRun(folder.Path, "secret-run");
        await using var studio = await StudioServer.StartAsync(new() { RunsFolder = folder.Path, Token = Token });
        using var client = studio.Client();
        foreach (var path in new[] { "/", "/playground", "/report?run=secret-run", "/_blazor/initializers",
            "/?token=wrong-wrong-wrong", "/no-such" })
        {
            var answer = await client.GetAsync(path);
            Assert.Equal((path, HttpStatusCode.Unauthorized), (path, answer.StatusCode));
            Assert.DoesNotContain("secret-run", await answer.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        }
        Assert.Equal(HttpStatusCode.OK, (await client.GetAsync("/assets/studio.css")).StatusCode);
        Assert.Equal(HttpStatusCode.Unauthorized, (await Get(client, "/", "Authorization", "Bearer wrong")).StatusCode);
        Assert.Equal(HttpStatusCode.OK, (await Get(client, "/", "Authorization", $"Bearer {Token}")).StatusCode);
        Assert.Equal("/login", (await Get(client, "/", "Accept", "text/html")).Headers.Location?.ToString());
    }

    [Fact]
    public async Task TheTokenInTheAddressBecomesACookieAndLeavesTheAddress()
    {
        await using var studio = await StudioServer.StartAsync(new() { RunsFolder = folder.Path, Token = Token });
        using var client = studio.Client();
        var answer = await client.GetAsync($"/playground?token={Token}&tab=x");
        Assert.Equal((HttpStatusCode.Redirect, "/playground?tab=x"), (answer.StatusCode, answer.Headers.Location?.ToString()));
        string cookie = answer.Headers.GetValues("Set-Cookie").Single();
        Assert.Contains("httponly", cookie, StringComparison.OrdinalIgnoreCase);
        Assert.Contains("samesite=strict", cookie, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain(Token, cookie, StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.OK, (await Get(client, "/", "Cookie", cookie.Split(';')[0])).StatusCode);
        Assert.Equal(HttpStatusCode.Unauthorized, (await Get(client, "/", "Cookie", cookie.Split(';')[0] + "0")).StatusCode);
    }

    [Fact]
    public async Task SigningInNeedsTheTokenAndThePagesOwnForm()
    {
        await using var studio = await StudioServer.StartAsync(new() { RunsFolder = folder.Path, Token = Token });
        using var client = studio.Client();
        var page = await client.GetAsync("/login");
        string cookie = page.Headers.GetValues("Set-Cookie").Single().Split(';')[0];
        string form = Regex.Match(await page.Content.ReadAsStringAsync(),
            "type=\"hidden\" name=\"([^\"]+)\" value=\"([^\"]+)\"") is { Success: true } field
            ? field.Groups[2].Value : "";
        Assert.Equal(HttpStatusCode.Unauthorized, (await Post(client, cookie, ("token", Token))).StatusCode); // without anti-forgery
        Assert.Equal(HttpStatusCode.Unauthorized,
            (await Post(client, cookie, ("token", "wrong"), ("__RequestVerificationToken", form))).StatusCode);
        var right = await Post(client, cookie, ("token", Token), ("__RequestVerificationToken", form));
        Assert.Equal(HttpStatusCode.Redirect, right.StatusCode);
        Assert.Contains($"rlhf-studio-{studio.Address.Port}=", right.Headers.GetValues("Set-Cookie").Single(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task ScriptsComeFromTheStudioAlone()
    {
        await using var studio = await StudioServer.StartAsync(new() { RunsFolder = folder.Path });
        using var client = studio.Client();
        var answer = await client.GetAsync("/");
        string policy = answer.Headers.GetValues("Content-Security-Policy").Single();
        Assert.Contains("default-src 'none'; script-src 'self';", policy, StringComparison.Ordinal);
        Assert.Contains("frame-ancestors 'none'", policy, StringComparison.Ordinal);
        string html = await answer.Content.ReadAsStringAsync();
        Assert.DoesNotContain("http://", html.Replace("http://www.w3.org", ""), StringComparison.Ordinal);
        Assert.DoesNotContain("https://", html, StringComparison.Ordinal);
        foreach (Match asset in Regex.Matches(html, "(?:src|href)=\"(/assets/[^\"]+)\""))
            Assert.Equal(HttpStatusCode.OK, (await client.GetAsync(WebUtility.HtmlDecode(asset.Groups[1].Value))).StatusCode);
        Assert.Equal(HttpStatusCode.NotFound, (await client.GetAsync("/assets/..%2f..%2fetc%2fpasswd")).StatusCode);
        Assert.Equal(HttpStatusCode.NotFound, (await client.GetAsync("/assets/Rlhf.Studio.dll")).StatusCode);
    }

    [Fact]
    public async Task AReportIsServedInASandboxAndOnlyFromRuns()
    {
        string run = StudioServer.MakeRun(folder.Path, "sweep/one");
        File.WriteAllText(Path.Combine(run, "report.html"), "<h1>Report</h1><script>1</script>");
        File.WriteAllText(Path.Combine(folder.Path, "report.html"), "no run's");
        await using var studio = await StudioServer.StartAsync(new() { RunsFolder = folder.Path });
        using var client = studio.Client();
        var answer = await client.GetAsync("/report?run=sweep%2Fone");
        Assert.Equal("<h1>Report</h1><script>1</script>", await answer.Content.ReadAsStringAsync());
        string policy = answer.Headers.GetValues("Content-Security-Policy").Single();
        Assert.StartsWith("sandbox allow-scripts; default-src 'none';", policy, StringComparison.Ordinal);
        Assert.DoesNotContain("allow-same-origin", policy, StringComparison.Ordinal);
        foreach (var id in new[] { "", ".", "..", "sweep", "sweep/one/..", "%2e%2e", "/", "C:\\" })
            Assert.Equal((id, HttpStatusCode.NotFound), (id, (await client.GetAsync($"/report?run={id}")).StatusCode));
    }

    [Fact]
    public async Task AReportIsMadeOfARunsOwnFilesWhereThereIsNoneOrItIsOld()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Links need rights there.");
        string killed = StudioServer.MakeRun(folder.Path, "runs/killed"), resumed = StudioServer.MakeRun(folder.Path, "runs/resumed");
        string old = Path.Combine(resumed, "report.html");
        File.WriteAllText(old, "old");
        File.SetLastWriteTimeUtc(old, File.GetLastWriteTimeUtc(Path.Combine(resumed, "metrics.jsonl")).AddHours(-1));
        string linked = StudioServer.MakeRun(folder.Path, "runs/linked");
        File.WriteAllText(Path.Combine(folder.Path, "outside.jsonl"), "a secret");
        File.Delete(Path.Combine(linked, "samples.jsonl"));
        File.CreateSymbolicLink(Path.Combine(linked, "samples.jsonl"), Path.Combine(folder.Path, "outside.jsonl"));
        await using var studio = await StudioServer.StartAsync(new()
        {
            RunsFolder = Path.Combine(folder.Path, "runs"),
            MakeReport = run => $"report of {Path.GetFileName(run)}",
        });
        using var client = studio.Client();
        var made = await client.GetAsync("/report?run=killed");
        Assert.Equal("report of killed", await made.Content.ReadAsStringAsync());
        Assert.StartsWith("sandbox allow-scripts;", made.Headers.GetValues("Content-Security-Policy").Single(), StringComparison.Ordinal);
        Assert.Equal("report of resumed", await client.GetStringAsync("/report?run=resumed"));
        Assert.Equal(HttpStatusCode.NotFound, (await client.GetAsync("/report?run=linked")).StatusCode);
        Assert.True(studio.Service<Runs.RunCatalog>().Find("killed")!.HasReport);
    }

    [Theory]
    [InlineData("?token=wrong-wrong-wrong", null, null)]
    [InlineData("", "Authorization", "Bearer wrong")]
    [InlineData("", "Cookie", "rlhf-studio-0=wrong")]
    public async Task AWrongTokenIsAnsweredOnlyWhenItsTimeHasPassedWhereverItStands(string query, string? header, string? value)
    {
        var time = new StandingTime();
        var gate = new TokenGate(_ => throw new InvalidOperationException("It was let through."),
            new SessionToken(new() { Token = Token }, time));
        var context = new DefaultHttpContext();
        (context.Request.Method, context.Request.QueryString) = ("GET", new(query));
        if (header is not null)
            context.Request.Headers[header] = value;
        var answering = gate.InvokeAsync(context);
        Assert.Equal([TimeSpan.FromSeconds(1)], time.Waits);
        Assert.False(answering.IsCompleted);
        time.Pass();
        await answering;
        Assert.Equal(401, context.Response.StatusCode);

        await gate.InvokeAsync(new DefaultHttpContext()); // none at all is no guess
        Assert.Single(time.Waits);
    }

    /// <summary>A clock that moves only when it is told to.</summary>
    private sealed class StandingTime : TimeProvider
    {
        private Action pass = () => { };

        public List<TimeSpan> Waits { get; } = [];

        public void Pass() => pass();

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            Waits.Add(dueTime);
            pass += () => callback(state);
            return new NoTimer();
        }

        private sealed class NoTimer : ITimer
        {
            public bool Change(TimeSpan dueTime, TimeSpan period) => true;

            public void Dispose()
            {
            }

            public ValueTask DisposeAsync() => default;
        }
    }

    [Fact]
    public async Task OddRequestsDoNotEndIt()
    {
        await using var studio = await StudioServer.StartAsync(new() { RunsFolder = folder.Path });
        foreach (var request in new[] { "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: \r\n\r\n", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
            "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n", "\0\0\0\r\n\r\n" })
        {
            using var connection = new TcpClient();
            await connection.ConnectAsync(IPAddress.Loopback, studio.Address.Port);
            await connection.GetStream().WriteAsync(Encoding.Latin1.GetBytes(request));
            var answer = new byte[64];
            int length = await connection.GetStream().ReadAsync(answer);
            Assert.Matches("^$|^HTTP/1.1 4", Encoding.Latin1.GetString(answer, 0, length));
        }
        using var client = studio.Client();
        Assert.Equal(HttpStatusCode.OK, (await client.GetAsync("/")).StatusCode);
    }

    [Fact]
    public void OtherMachinesAreLetInOnlyWithAToken()
    {
        var problem = Assert.Throws<ConfigurationException>(() => StudioHost.Build(new() { Address = IPAddress.Any }));
        Assert.Contains("set a Token", problem.Message, StringComparison.Ordinal);
        Assert.Empty(new StudioOptions { Address = IPAddress.Any, Token = Token }.Validate());
        Assert.Single(new StudioOptions { Token = "short" }.Validate());
    }

    public void Dispose() => folder.Dispose();

    private static Task<HttpResponseMessage> Get(HttpClient client, string path, string header, string value)
    {
        var request = new HttpRequestMessage(HttpMethod.Get, path);
        request.Headers.TryAddWithoutValidation(header, value);
        return client.SendAsync(request);
    }

    private static Task<HttpResponseMessage> Post(HttpClient client, string cookie, params (string Name, string Value)[] fields)
    {
        var request = new HttpRequestMessage(HttpMethod.Post, "/login")
        {
            Content = new FormUrlEncodedContent(fields.Select(f => KeyValuePair.Create(f.Name, f.Value))),
        };
        request.Headers.TryAddWithoutValidation("Cookie", cookie);
        return client.SendAsync(request);
    }
}
